"""A request's body, counted while it streams."""

from __future__ import annotations

from starlette.requests import Request

from seqserve.errors import MessageTooLarge, UnsupportedMedia
from seqserve.http_api.limits import Share


async def read_body(request: Request, max_bytes: int, share: Share) -> bytearray:
    """All of it, whether its length was announced or not.

    Raises MessageTooLarge with the first byte beyond the limit, or before the first one where the length
    is announced; UnsupportedMedia for a compressed body; Overloaded; starlette's ClientDisconnect.
    """
    _check_encoding(request)
    if _announced_bytes(request) > max_bytes:
        raise MessageTooLarge(max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > max_bytes:
            raise MessageTooLarge(max_bytes)
        share.take(len(chunk))
        body += chunk
    return body


def _check_encoding(request: Request) -> None:
    given = ",".join(request.headers.getlist("content-encoding"))
    if any(encoding.strip().lower() not in ("", "identity") for encoding in given.split(",")):
        raise UnsupportedMedia(
            "CONTENT_ENCODING", field="Content-Encoding", came=given, accepted="identity: no compression"
        )


def _announced_bytes(request: Request) -> int:
    """0 where nothing is announced; that it is true is the HTTP server's business."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isascii() and announced.isdecimal() else 0
