"""An answer whose room is given back only when its last byte has left."""

from __future__ import annotations

from contextlib import ExitStack

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class HeldReply(Response):
    """A response with everything that is held for it; to be sent once.

    held: closed when the response has been sent, or its caller is gone.
    """

    def __init__(self, reply: Response, held: ExitStack) -> None:
        super().__init__(status_code=reply.status_code)
        self.body, self.raw_headers = reply.body, reply.raw_headers
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """See ASGI. The empty part at the end waits until the connection has taken what came before it."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        with self._held:
            await send(start)
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
