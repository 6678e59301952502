"""Both clients behind one face, so that one test speaks for the twins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

from seqserve.client import AsyncClient, Client, Model, ModelVersions, Reply, StreamReply


class Streamed(NamedTuple):
    """What came of a stream, and what ended it, where it did not end well."""

    replies: list[StreamReply]
    error: Exception | None


class Asking(Protocol):
    """The client's calls; a stream is read to its end."""

    async def predict(self, examples: Any, **options: Any) -> Reply: ...
    async def stream(self, items: Iterable[Any], **options: Any) -> Streamed: ...
    async def models(self) -> list[Model]: ...
    async def model(self, name: str) -> ModelVersions: ...
    async def health(self, service: str = "") -> bool: ...


class InThreads:
    """The synchronous client in threads: the gateway lives on the test's event loop."""

    def __init__(self, address: str, **options: Any) -> None:
        self._client = Client(address, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._client.close)

    def __getattr__(self, name: str) -> Any:
        return partial(asyncio.to_thread, getattr(self._client, name))

    async def stream(self, items: Iterable[Any], **options: Any) -> Streamed:
        return await asyncio.to_thread(self._read, items, options)

    def _read(self, items: Iterable[Any], options: dict[str, Any]) -> Streamed:
        replies: list[StreamReply] = []
        try:
            replies.extend(self._client.stream(items, **options))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return Streamed(replies, error)
        return Streamed(replies, None)


class OnTheLoop(AsyncClient):
    """The asynchronous client; its streams are read to their end."""

    async def stream(self, items: Any, **options: Any) -> Streamed:  # type: ignore[override]
        replies: list[StreamReply] = []
        try:
            async for reply in super().stream(items, **options):
                replies.append(reply)  # noqa: PERF401 - those before an error count
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return Streamed(replies, error)
        return Streamed(replies, None)


TWINS = {"sync": InThreads, "aio": OnTheLoop}
