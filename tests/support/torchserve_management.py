"""TorchServe's management API, played in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.torchserve import Keys


@dataclass
class FakeVersion:
    """One version in the played TorchServe."""

    content: bytes
    workers: int = 1
    ready_workers: int = 1


def _reply(code: int, **document: Any) -> httpx.Response:
    return httpx.Response(code, json={"code": code} | document)


def _absent(name: str) -> httpx.Response:
    return _reply(404, message=f"Model not found: {name}")


@dataclass
class FakeManagement:
    """TorchServe's management API, in memory; it keeps to what the real one's source does.

    refusal: what registering is answered with, after it was done. gates: calls that wait, by method.
    is_away: nobody listens; is_silent: nobody answers. writes_keys: whether /token gets to its file.
    """

    model_store: Path
    keys: Keys
    refusal: httpx.Response | None = None
    has_gpu: bool = False
    models: dict[str, dict[str, FakeVersion]] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    is_away: bool = False
    is_silent: bool = False
    writes_keys: bool = True
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    calls: list[str] = field(default_factory=list)
    metrics: bytes = b"ts_up 1\n"

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("nobody listens", request=request)
        if self.is_silent:
            raise httpx.ReadTimeout("nobody answers", request=request)
        path = request.url.path
        self.calls.append(f"{request.method} {path}")
        if gate := self.gates.get(request.method):
            self.arrived.release()
            await gate.wait()
        if path == "/metrics":
            return httpx.Response(200, content=self.metrics)
        kind = "api" if path == "/token" else self.keys.of("management")
        if request.headers["Authorization"] != f"Bearer {kind}":
            return _reply(
                400, type="InvalidKeyException", message="Token Authorization failed. Token either…"
            )
        return self._route(request.method, path, dict(request.url.params))

    def changes(self) -> list[str]:
        """What was called that changes anything."""
        return [call for call in self.calls if not call.startswith("GET")]

    def put(self, name: str, version: str, content: bytes = b"somebody's", **workers: int) -> None:
        """Register a version past the engine."""
        self.models.setdefault(name, {})[version] = FakeVersion(content, **workers)
        self.defaults.setdefault(name, version)

    def empty(self) -> None:
        """As after a restart."""
        self.models.clear()
        self.defaults.clear()

    def _route(self, method: str, path: str, parameters: dict[str, str]) -> httpx.Response:
        for pattern, answer in self._routes().items():
            if found := re.fullmatch(pattern, f"{method} {path}"):
                return answer(*found.groups(), parameters)
        return _reply(405, message="no such method")

    def _routes(self) -> dict[str, Callable[..., httpx.Response]]:
        model = r"/models/([\w-]+)"
        return {
            "GET /token": self._renew,
            "GET /models": self._list,
            "POST /models": self._register,
            f"GET {model}/all": self._describe_all,
            f"GET {model}": self._describe_default,
            rf"PUT {model}/(\d+)/set-default": self._set_default,
            rf"PUT {model}/(\d+)": self._scale,
            rf"DELETE {model}/(\d+)": self._unregister,
        }

    def _renew(self, parameters: dict[str, str]) -> httpx.Response:
        self.keys.renew(parameters["type"])
        if self.writes_keys:
            self.keys.write()
        return httpx.Response(200, json="")

    def _list(self, _: dict[str, str]) -> httpx.Response:
        return httpx.Response(200, json={"models": [{"modelName": name} for name in self.models]})

    def _register(self, parameters: dict[str, str]) -> httpx.Response:
        assert parameters["synchronous"] == "true"
        assert parameters["batch_size"] == "1"
        name, _, version = parameters["url"].removesuffix(".mar").rpartition("-")
        if version in self.models.get(name, {}):
            return _reply(409, message=f"Model version {version} is already registered for model {name}")
        content, workers = (self.model_store / parameters["url"]).read_bytes(), parameters["initial_workers"]
        self.put(name, version, content, workers=int(workers), ready_workers=int(workers))
        return self.refusal or _reply(200, status="registered")

    def _describe_all(self, name: str, _: dict[str, str]) -> httpx.Response:
        return self._describe(name, list(self.models.get(name, {})))

    def _describe_default(self, name: str, _: dict[str, str]) -> httpx.Response:
        return self._describe(name, [self.defaults.get(name, "")])

    def _describe(self, name: str, versions: list[str]) -> httpx.Response:
        if name not in self.models:
            return _absent(name)
        return httpx.Response(200, json=[self._document(name, version) for version in versions])

    def _document(self, name: str, version: str) -> dict[str, Any]:
        found = self.models[name][version]
        statuses = ["READY" if index < found.ready_workers else "UNLOADING" for index in range(found.workers)]
        workers = [{"status": status, "gpu": self.has_gpu} for status in statuses]
        return {"modelVersion": version, "minWorkers": found.workers, "workers": workers}

    def _set_default(self, name: str, version: str, _: dict[str, str]) -> httpx.Response:
        if version not in self.models.get(name, {}):
            return _absent(name)
        self.defaults[name] = version
        return _reply(200, status="ok")

    def _scale(self, name: str, version: str, parameters: dict[str, str]) -> httpx.Response:
        if version not in self.models.get(name, {}):
            return _absent(name)
        assert parameters["min_worker"] == parameters["max_worker"]
        found = self.models[name][version]
        found.workers = found.ready_workers = int(parameters["min_worker"])
        return _reply(200, status="scaled")

    def _unregister(self, name: str, version: str, _: dict[str, str]) -> httpx.Response:
        if version not in self.models.get(name, {}):
            return _absent(name)
        if self.defaults[name] == version and len(self.models[name]) > 1:
            return _reply(403, message="Cannot remove default version for model")
        del self.models[name][version]
        if not self.models[name]:
            del self.models[name], self.defaults[name]
        return _reply(200, status="unregistered")
