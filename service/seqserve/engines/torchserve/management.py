"""TorchServe's HTTP management API, over which models come and go."""

from __future__ import annotations

from typing import Any

from seqserve.engines.torchserve.endpoint import TorchServeEndpoint
from seqserve.errors import ArchiveInvalid, DependencyMissing, EngineUnavailable

try:
    import httpx
except ModuleNotFoundError as error:
    raise DependencyMissing(
        "the torchserve engine needs httpx: pip install 'seqserve[torchserve]'"
    ) from error

REGISTER_SECONDS = 150.0  # TorchServe itself gives a worker 120
MANAGE_SECONDS = 130.0  # unregistering waits for the worker, at most 120
CONNECT_SECONDS = 5.0


class Management:
    """The HTTP half of the wire: registers models, one worker each."""

    def __init__(
        self, endpoint: TorchServeEndpoint, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._tokens = endpoint.tokens
        timeout = httpx.Timeout(MANAGE_SECONDS, connect=CONNECT_SECONDS)
        # trust_env off: a proxy of the environment must not see the tokens
        self._http = httpx.AsyncClient(
            base_url=endpoint.management_url, transport=transport, timeout=timeout, trust_env=False
        )

    async def register(self, file_name: str) -> None:
        """Register an archive of the model store and wait for its worker.

        Raises ArchiveInvalid where TorchServe refuses it, EngineUnavailable where it does not answer.
        """
        parameters = {"url": file_name, "initial_workers": 1, "batch_size": 1, "synchronous": "true"}
        await self._send("POST", "/models", params=parameters, timeout=REGISTER_SECONDS)

    async def set_default(self, name: str, version: str) -> None:
        """The version that answers callers who name none."""
        await self._send("PUT", f"/models/{name}/{version}/set-default")

    async def unregister(self, name: str, version: str) -> None:
        """Take a version away, if it is there. TorchServe keeps the default one while there are others."""
        await self._send("DELETE", f"/models/{name}/{version}", is_absence_fine=True)

    async def has_gpu(self, name: str, version: str) -> bool:
        """Whether the version's worker was given a GPU."""
        described = await self._send("GET", f"/models/{name}/{version}")
        return any(worker.get("gpu") for worker in described[0].get("workers", []))

    async def aclose(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _send(self, method: str, path: str, *, is_absence_fine: bool = False, **options: Any) -> Any:
        try:
            response = await self._request(method, path, **options)
            if _is_about_the_token(response):
                self._tokens.forget()
                response = await self._request(method, path, **options)
        except httpx.TransportError as error:
            raise EngineUnavailable("TorchServe's management API does not answer") from error
        if response.is_success or (is_absence_fine and response.status_code == httpx.codes.NOT_FOUND):
            return response.json()
        raise ArchiveInvalid(f"TorchServe refused: {_message(response)}")

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._tokens.management()}"}
        return await self._http.request(method, path, headers=headers, **options)


def _is_about_the_token(response: httpx.Response) -> bool:
    """A stale token is 400 there, as other faults are."""
    is_refused = response.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED)
    return is_refused and "token" in response.text.lower()


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
