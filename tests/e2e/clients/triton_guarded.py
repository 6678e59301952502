"""tritonclient with TLS and tokens: `triton_guarded.py KIND ADDRESS DIGITS CALLERS`.

KIND: see triton.py. DIGITS: see support.digits. CALLERS: a folder with certificates and tokens, see
support.guarded.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from queue import Queue
from typing import Any

from tritonclient.utils import InferenceServerException

from support.features import settled, tell
from support.triton import MODEL, WAIT_SECONDS, Caller

PEM = {"root_certificates": "ca.crt", "certificate_chain": "client.crt", "private_key": "client.key"}


def client_options(kind: str, folder: Path, **files: str | None) -> dict[str, Any]:
    """What turns TLS on. files: other ones than those of PEM, None for none."""
    paths = {name: str(folder / file) for name, file in (PEM | files).items() if file}
    if kind.startswith("grpc"):
        return {"ssl": True, **paths}

    def context() -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=paths["root_certificates"])
        if "private_key" in paths:
            made.load_cert_chain(paths["certificate_chain"], paths["private_key"])
        return made

    return (
        {"ssl": True, "ssl_context_factory": context}
        if kind == "http"
        else {"ssl": True, "ssl_context": context()}
    )


def bearing(folder: Path, name: str) -> dict[str, str]:
    """The header with the token of a file."""
    return {"authorization": f"Bearer {(folder / name).read_text()}"}


async def repository(caller: Caller, headers: dict[str, str]) -> Any:
    """Load a model again."""
    await caller.ask("load_model", MODEL, headers=headers)
    return await caller.ask("is_model_ready", MODEL, headers=headers)


async def streamed(caller: Caller, headers: dict[str, str]) -> Any:
    """One digit over a stream that has the token."""
    result, error = await STREAMED[caller.kind](caller, headers)
    if error is not None:
        raise error
    return result.as_numpy("probabilities").tolist()


async def _by_callback(caller: Caller, headers: dict[str, str]) -> tuple[Any, Any]:
    answers: Queue[tuple[Any, Any]] = Queue()
    caller.client.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
    caller.client.async_stream_infer(MODEL, [caller.tensor(caller.rows[:1])])
    answered = answers.get(timeout=WAIT_SECONDS)
    caller.client.stop_stream()
    return answered


async def _by_iterator(caller: Caller, headers: dict[str, str]) -> tuple[Any, Any]:
    async def sent() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": MODEL, "inputs": [caller.tensor(caller.rows[:1])]}

    [(result, error)] = [answer async for answer in caller.client.stream_infer(sent(), headers=headers)]
    return result, error


STREAMED = {"grpc": _by_callback, "grpc.aio": _by_iterator}


async def liveness(caller: Caller) -> Any:
    """Without a token; the answer, or the status of the exception."""
    try:
        return await caller.ask("is_server_live")
    except InferenceServerException as refused:
        return refused.status()


async def not_connected(kind: str, address: str, digits: Path, callers: Path, **files: str | None) -> Any:
    """What the client raises where TLS comes to nothing."""
    caller = Caller(kind, address, digits, **client_options(kind, callers, **files))
    try:
        await caller.ask("get_server_metadata", headers=bearing(callers, "token"))
    except Exception as failed:  # noqa: BLE001 - each client has a kind of its own
        return str(failed)
    finally:
        await settled(caller.client.close())
    raise AssertionError("it was answered")


async def main(kind: str, address: str, digits: str, callers: str) -> None:
    """Use the client as each of its callers, and as nobody."""
    folder, rows = Path(callers), Path(digits)
    caller = Caller(kind, address, rows, **client_options(kind, folder))
    anybody = partial(not_connected, kind, address, rows, folder)
    token, admin, metrics, wrong = (
        bearing(folder, f"token{name}") for name in ("", ".admin", ".metrics", ".wrong")
    )

    def refused(**options: Any) -> Any:
        return caller.refused(caller.infer(caller.rows[:1], **options))

    features = {
        "infer": lambda: caller.probabilities(caller.rows[:4], headers=token),
        "admin": lambda: repository(caller, admin),
        "no admin": lambda: caller.refused(caller.ask("load_model", MODEL, headers=token)),
        "no inference": lambda: refused(headers=metrics),
        "wrong token": lambda: refused(headers=wrong),
        "no token": refused,
        "liveness": lambda: liveness(caller),
        "untrusted": lambda: anybody(root_certificates="foreign.crt"),
        "no certificate": lambda: anybody(certificate_chain=None, private_key=None),
    }
    if caller.is_grpc:
        features["stream"] = lambda: streamed(caller, token)
    await tell(f"tritonclient.{kind} {version('tritonclient')}, TLS and tokens", features)
    await settled(caller.client.close())


asyncio.run(main(*sys.argv[1:]))
