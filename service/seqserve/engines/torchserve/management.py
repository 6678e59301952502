"""TorchServe's HTTP APIs for models, tokens and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seqserve.engines.timing import Time
from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.engines.torchserve.tokens import TOKEN_PAUSES_SECONDS, TokenKind
from seqserve.errors import ArchiveInvalid, DependencyMissing, EngineUnavailable

try:
    import httpx
except ModuleNotFoundError as error:
    raise DependencyMissing(
        "the torchserve engine needs httpx: pip install 'seqserve[torchserve]'"
    ) from error

REGISTER_SECONDS = 150.0  # TorchServe itself gives a worker 120
MANAGE_SECONDS = 130.0  # unregistering waits for the worker, at most 120
LOOK_SECONDS = 5.0
METRICS_SECONDS = 1.0
CONNECT_SECONDS = 5.0
PAGE = 1000
TOKEN_REFUSED = "Token Authorization failed"  # noqa: S105 - what TorchServe says of one
NOT_WRITTEN = "Failed to save model"
"""What it says where a disk has failed it, as a full one does. Source: handleRegister in ApiUtils.java."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A version as TorchServe has it.

    workers: how many it should have. ready_workers: those that answer now.
    """

    workers: int
    ready_workers: int
    has_gpu: bool


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model as TorchServe has it: its versions by number, and the one for callers who name none."""

    versions: Mapping[str, Registered]
    default: str


class Management:
    """Registers models and looks at them.

    Everything raises EngineUnavailable where TorchServe does not answer.
    """

    def __init__(
        self,
        endpoint: TorchServeEndpoint,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        time: Time | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._time = time or Time()
        timeout = httpx.Timeout(MANAGE_SECONDS, connect=CONNECT_SECONDS)
        # trust_env off: a proxy of the environment must not see the tokens
        self._http = httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False)

    async def register(self, file_name: str, *, workers: int, response_seconds: int) -> None:
        """Register an archive of the model store and wait for its workers.

        response_seconds: a worker that takes longer for one request is killed and started again.
        Raises ArchiveInvalid where TorchServe refuses it, EngineUnavailable where it cannot unpack it.
        """
        parameters = {
            "url": file_name, "initial_workers": workers, "batch_size": 1, "synchronous": "true",
            "response_timeout": response_seconds,
        }  # fmt: skip
        await self._send("POST", "/models", params=parameters, timeout=REGISTER_SECONDS)

    async def set_default(self, name: str, version: str) -> None:
        """The version that answers callers who name none. Raises ArchiveInvalid where it is not there."""
        await self._send("PUT", f"/models/{name}/{version}/set-default")

    async def scale(self, name: str, version: str, workers: int) -> None:
        """Give a version so many workers and wait for them. Raises ArchiveInvalid where it is refused."""
        parameters = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
        await self._send("PUT", f"/models/{name}/{version}", params=parameters)

    async def unregister(self, name: str, version: str) -> None:
        """Take a version away, if it is there. TorchServe keeps the default one while there are others."""
        await self._send("DELETE", f"/models/{name}/{version}", is_absence_fine=True)

    async def models(self) -> dict[str, RegisteredModel]:
        """Everything that is registered, by name."""
        found: dict[str, RegisteredModel] = {}
        for name in await self._names():
            model = await self.describe(name)
            if model is not None:  # somebody took it away in between
                found[name] = model
        return found

    async def describe(self, name: str) -> RegisteredModel | None:
        """One model, None where it is not registered."""
        versions, default = await self._read(f"/models/{name}/all"), await self._read(f"/models/{name}")
        if not isinstance(versions, list) or not isinstance(default, list):  # an error's document
            return None
        return RegisteredModel(
            {str(version["modelVersion"]): _registered(version) for version in versions},
            str(default[0]["modelVersion"]),
        )

    async def renew(self, kind: TokenKind) -> None:
        """Have a new token made; the old one is refused from then on."""
        url, tokens = f"{self._endpoint.management_url}/token", self._endpoint.tokens
        headers = {"Authorization": f"Bearer {tokens.api()}"}
        try:
            response = await self._http.get(url, params={"type": kind}, headers=headers, timeout=LOOK_SECONDS)
        except httpx.TransportError as error:
            raise EngineUnavailable("TorchServe's management API does not answer") from error
        tokens.forget()
        if not response.is_success:
            raise EngineUnavailable(f"TorchServe gave no new {kind} token: HTTP {response.status_code}")

    async def metrics(self) -> bytes:
        """Its own metrics, in Prometheus' text format."""
        url = f"{self._endpoint.metrics_url}/metrics"
        try:
            response = await self._http.get(url, timeout=METRICS_SECONDS)
        except httpx.TransportError as error:
            raise EngineUnavailable("TorchServe's metrics API does not answer") from error
        if not response.is_success:
            raise EngineUnavailable(f"TorchServe gave no metrics: HTTP {response.status_code}")
        return response.content

    async def aclose(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _names(self) -> list[str]:
        names: list[str] = []
        page: dict[str, Any] = {"limit": PAGE}
        while True:
            listed = await self._send("GET", "/models", params=page, timeout=LOOK_SECONDS)
            names += [str(model["modelName"]) for model in listed["models"]]
            if not listed.get("nextPageToken"):
                return names
            page["next_page_token"] = listed["nextPageToken"]

    async def _read(self, path: str) -> Any:
        return await self._send("GET", path, is_absence_fine=True, timeout=LOOK_SECONDS)

    async def _send(self, method: str, path: str, *, is_absence_fine: bool = False, **options: Any) -> Any:
        try:
            response = await self._authorized(method, path, **options)
            if response.is_success or (is_absence_fine and response.status_code == httpx.codes.NOT_FOUND):
                return response.json()
        except (httpx.TransportError, ValueError) as error:
            raise EngineUnavailable("TorchServe's management API does not answer") from error
        if _is_about_the_token(response):
            raise EngineUnavailable(f"TorchServe refused the token: {_message(response)}")
        if _message(response).startswith(NOT_WRITTEN):
            raise EngineUnavailable("TorchServe cannot unpack the archive: perhaps its folder is full")
        raise ArchiveInvalid(f"TorchServe refused: {_message(response)}")

    async def _authorized(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send it; where the token is refused it has been renewed or is now, and nothing has been done."""
        for pause_seconds in TOKEN_PAUSES_SECONDS:
            response = await self._request(method, path, **options)
            if not _is_about_the_token(response):
                return response
            await self._time.sleep(pause_seconds)
            self._endpoint.tokens.note_refusal()
        return await self._request(method, path, **options)

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._endpoint.tokens.management()}"}
        url = f"{self._endpoint.management_url}{path}"
        return await self._http.request(method, url, headers=headers, **options)


def _registered(version: Mapping[str, Any]) -> Registered:
    workers = version.get("workers", [])
    ready = [worker for worker in workers if worker.get("status") == "READY"]
    has_gpu = any(worker.get("gpu") for worker in workers)
    return Registered(int(version["minWorkers"]), len(ready), has_gpu)


def _is_about_the_token(response: httpx.Response) -> bool:
    """A stale token is 400 there, as other faults are. Source: TokenAuthorizationHandler.java."""
    is_refused = response.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED)
    return is_refused and TOKEN_REFUSED in response.text


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
