"""The native server as the event loop sees it, without one: news go in, what is answered is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NEVER = 2**63 - 1


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


@dataclass
class FakeCall:
    """A call, or a native stream. did: what Python asked of it, in order."""

    id: int
    did: list[tuple[Any, ...]] = field(default_factory=list)

    def read(self) -> None:
        self.did.append(("read",))

    def write(self, message: bytes) -> None:
        self.did.append(("write", message))

    def reply(self, message: bytes, trailing: Any) -> None:
        self.did.append(("reply", message, trailing))

    def finish(self, code: int, words: str, trailing: Any) -> None:
        self.did.append(("finish", code, words, trailing))

    def answer(self, number: int, reply: bytes) -> None:
        self.did.append(("answer", number, reply))

    def refuse(self, code: int, words: str, trailing: Any) -> None:
        self.did.append(("refuse", code, words, trailing))


class FakeDesk:
    """Hands out news at once."""

    def __init__(self, *news: dict[str, Callable[..., None]]) -> None:
        self._takers = news
        self._ids = 0

    def tell(self, kind: str, *what: Any) -> None:
        for takers in self._takers:
            if kind in takers:
                takers[kind](*what)

    def call(
        self, path: str, message: bytes | None = None, *, metadata: Any = (), timeout_ns: int = NEVER
    ) -> FakeCall:
        self._ids += 1
        call = FakeCall(self._ids)
        self.tell("called", call, path, metadata, timeout_ns, message)
        return call


@dataclass
class FakeServer:
    """What NativeListener asks of the native server."""

    fault: OSError | None = None
    turned_away: int = 0
    did: list[tuple[Any, ...]] = field(default_factory=list)

    def listen(self, address: str, identity: Any) -> int:
        self.did.append(("listen", address, identity))
        if self.fault is not None:
            raise self.fault
        return 4711

    def set_hot(self, is_hot: bool) -> None:  # noqa: FBT001 - as the real one has it
        self.did.append(("set_hot", is_hot))

    def drain(self) -> None:
        self.did.append(("drain",))

    def stop(self, grace_ns: int) -> None:
        self.did.append(("stop", grace_ns))
