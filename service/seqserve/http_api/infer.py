"""The inference call over HTTP: read, predict, encode; given up when its caller leaves."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

from starlette.requests import Request
from starlette.responses import Response

from seqserve.errors import DeadlineExceeded, SeqserveError
from seqserve.http_api.body import read_body
from seqserve.http_api.boundary import Call
from seqserve.http_api.departures import unless_left
from seqserve.http_api.held_reply import HeldReply
from seqserve.http_api.infer_message import InferMessage, Unreadable, read_message
from seqserve.http_api.infer_reply import encode_reply
from seqserve.http_api.limits import Buffered, HttpLimits, Share
from seqserve.http_api.strict_json import LONG_BYTES
from seqserve.oip_rules import timeout_seconds
from seqserve.predictor import Prediction, Predictor
from seqserve.predictor import Request as Asked

LONG_REPLY_NUMBERS = 2**13


class Infer:
    """Answers inference requests, within limits."""

    def __init__(self, predictor: Predictor, limits: HttpLimits, buffered: Buffered) -> None:
        self._predictor = predictor
        self._limits = limits
        self._buffered = buffered
        # Python parses one text at a time, however many threads try; so only one is held in pieces.
        self._long_read = asyncio.Semaphore(1)

    async def answer(self, request: Request, call: Call) -> Response:
        """Rows in, rows out. Raises the errors of Predictor.predict, and those of reading."""
        with ExitStack() as held:
            share = held.enter_context(self._buffered.share())
            message = await self._message(request, share)
            asked = Asked(
                model=request.path_params["model"],
                version=request.path_params.get("version", ""),
                content=message.content,
                timeout_seconds=timeout_seconds(message.timeout, None),
                request_id=call.canary_key(message.id),
                asker=call,
            )
            prediction = await unless_left(self._predictor.predict(asked), request.receive)
            reply = await self._encoded(message, prediction)
            share.add_answer(len(reply.body))
            return HeldReply(reply, held.pop_all())

    async def _message(self, request: Request, share: Share) -> InferMessage | Unreadable:
        seconds, most = self._limits.body_timeout_seconds, self._limits.max_body_bytes
        try:
            async with asyncio.timeout(seconds):
                body = await read_body(request, most, share)
                if len(body) <= LONG_BYTES:
                    return read_message(body, request.headers, most)
                async with self._long_read:
                    return await asyncio.to_thread(read_message, body, request.headers, most)
        except TimeoutError:
            return Unreadable(DeadlineExceeded(f"the body was not there and read within {seconds:g} s"))
        except SeqserveError as error:
            return Unreadable(error)

    async def _encoded(self, message: InferMessage | Unreadable, prediction: Prediction) -> Response:
        if isinstance(message, Unreadable):  # `content` has raised its fault
            raise message.fault
        started = time.perf_counter()
        if prediction.rows.size > LONG_REPLY_NUMBERS and not message.is_binary:
            response = await asyncio.to_thread(encode_reply, message, prediction)
        else:
            response = encode_reply(message, prediction)
        prediction.observer.request_encoded(time.perf_counter() - started)
        return response
