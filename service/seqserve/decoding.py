"""Pictures to rows, off the event loop: decoding takes milliseconds, and the loop has other callers.

It is bounded as the queues are: what waits to be decoded waits for the model.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from seqserve import tensors
from seqserve.errors import DeadlineExceeded, InvalidRequest, Overloaded
from seqserve.signature import Signature
from seqserve.tensors import FloatArray


class PictureDecoder:
    """Decodes for all models.

    max_pictures: how many may wait or be decoded at once. threads: how many are decoded at once; a large
    picture that is to be resized takes most of a second and a few hundred MB.
    """

    def __init__(self, max_pictures: int, threads: int = 1) -> None:
        self._max_pictures = max_pictures
        self._pictures = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pictures")

    async def rows(self, files: Sequence[bytes], signature: Signature) -> FloatArray:
        """PNG and JPEG files as rows [n, *example] FP32. Raises InvalidRequest, Overloaded."""
        if self._pictures + len(files) > self._max_pictures:
            raise Overloaded(f"{self._pictures} pictures wait to be decoded, {len(files)} more are too many")
        has_left = threading.Event()
        self._pictures += len(files)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, _rows, files, signature, has_left)
        finally:
            self._pictures -= len(files)
            has_left.set()


def check_pictures(files: Sequence[bytes], signature: Signature, max_request_examples: int) -> None:
    """Whether the model takes pictures, and so many. Raises InvalidRequest."""
    name = signature.input.name
    if signature.image_size is None:
        raise InvalidRequest(
            "DATATYPE_NOT_ACCEPTED", field=name, came="BYTES",
            accepted="numbers; this model takes no images",
        )  # fmt: skip
    if not files:
        raise InvalidRequest("NO_EXAMPLES", field=name, came="no images", accepted="at least one image")
    if len(files) > max_request_examples:
        raise InvalidRequest(
            "TOO_MANY_EXAMPLES", field=name, came=f"{len(files)} images",
            accepted=f"1 to {max_request_examples} images a request",
        )  # fmt: skip


def _rows(files: Sequence[bytes], signature: Signature, has_left: threading.Event) -> FloatArray:
    """Nobody hears the end of it where the caller leaves meanwhile."""
    from seqserve import images  # noqa: PLC0415 - Pillow's memory is for those who send pictures

    pixels = []
    for index, file in enumerate(files):
        if has_left.is_set():
            raise DeadlineExceeded("the caller has left")
        pixels.append(images.decode_image(file, signature, index))
    return tensors.rows_of_pixels(np.stack(pixels), signature)
