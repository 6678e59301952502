"""tritonclient: `triton.py grpc|grpc.aio|http|http.aio ADDRESS FOLDER`. One program, since its four clients are alike.

FOLDER: see support.digits.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from support.features import settled, tell
from support.triton import MODEL, Caller


async def readiness(caller: Caller) -> Any:
    """Of the server, of our models, and of one that is not there."""
    return {
        "live": await caller.ask("is_server_live"),
        "ready": await caller.ask("is_server_ready"),
        "models": {name: await caller.ask("is_model_ready", name) for name in (MODEL, "line", "nobody")},
        "versions": {number: await caller.ask("is_model_ready", MODEL, number) for number in ("1", "7")},
    }


async def metadata(caller: Caller) -> Any:
    """Of the server and of the model."""
    return {
        "server": await caller.document("get_server_metadata"),
        "model": await caller.document("get_model_metadata", MODEL),
    }


async def config(caller: Caller) -> Any:
    """ModelConfig."""
    return await caller.document("get_model_config", MODEL)


async def statistics(caller: Caller) -> Any:
    """Before and after eight examples, of one model; then of all."""
    before = await caller.document("get_inference_statistics", MODEL)
    await caller.infer(caller.rows[:8])
    after = await caller.document("get_inference_statistics", MODEL)
    return {"before": before, "after": after, "all": await caller.document("get_inference_statistics")}


async def raw(caller: Caller) -> Any:
    """Eight rows, with the output named; and the rest of the reply."""
    outputs = [caller.module.InferRequestedOutput("probabilities")]
    result = await caller.infer(caller.rows[:8], outputs=outputs)
    reply = result.get_response(as_json=True) if caller.is_grpc else result.get_response()
    return {
        "rows": result.as_numpy("probabilities").tolist(),
        "version": reply["model_version"],
        "receipt": reply["parameters"],
    }


async def datatypes(caller: Caller) -> Any:
    """The same four digits in every form that an image model takes."""
    return {
        "UINT8": await caller.probabilities(caller.pixels[:4]),
        "FP16": await caller.probabilities(caller.rows[:4].astype(np.float16)),
        "BF16": await caller.probabilities(caller.rows[:4].astype(ml_dtypes.bfloat16)),
        "BYTES": await caller.probabilities(np.array(caller.pictures, np.object_)),
        "CHW": await caller.probabilities(caller.rows[:4].reshape(4, 1, 28, 28)),
        "no batch": await caller.probabilities(caller.rows[0]),
    }


async def json(caller: Caller) -> Any:
    """With HTTP alone: input and output within the JSON."""
    tensor = caller.tensor(caller.rows[:8], binary_data=False)
    outputs = [caller.module.InferRequestedOutput("probabilities", binary_data=False)]
    result = await settled(caller.client.infer(MODEL, [tensor], outputs=outputs))
    return {
        "rows": result.as_numpy("probabilities").tolist(),
        "is binary": "data" not in result.get_output("probabilities"),
    }


async def classification(caller: Caller) -> Any:
    """The best three of four digits, more than there are of one, and none of a regression."""

    async def best(values: Any, count: int, output: str = "probabilities", **options: str) -> Any:
        outputs = [caller.module.InferRequestedOutput(output, class_count=count)]
        result = await caller.infer(values, outputs=outputs, **options)
        return [[element.decode() for element in row] for row in result.as_numpy(output)]

    line = np.zeros((2, 1), np.float32)
    return {
        "three": await best(caller.rows[:4], 3),
        "all": await best(caller.rows[:1], 99),
        "regression": await caller.refused(best(line, 1, "y", model="line", name="x")),
    }


async def repository(caller: Caller) -> Any:
    """Out and in again: the index and readiness at each step."""

    async def state() -> Any:
        index = await caller.document("get_model_repository_index")
        models = index["models"] if caller.is_grpc else index
        states = {model["name"]: model.get("state") for model in models}
        return {"states": states, "ready": await caller.ask("is_model_ready", "line")}

    line = partial(caller.infer, np.zeros((2, 1), np.float32), model="line", name="x")
    first = await state()
    await caller.ask("unload_model", "line")
    without = {**await state(), "refusal": await caller.refused(line())}
    await caller.ask("load_model", "line")
    again = {**await state(), "shape": list((await line()).as_numpy("y").shape)}
    return {"first": first, "without": without, "again": again}


async def repository_refusals(caller: Caller) -> Any:
    """A model that is not there, and Triton's override of the configuration."""
    return {
        "unknown": await caller.refused(caller.ask("load_model", "nobody")),
        "override": await caller.refused(caller.ask("load_model", "line", config='{"max_batch_size": 1}')),
    }


async def deadline(caller: Caller) -> Any:
    """Triton's `timeout`: one microsecond, which is over before the model; and a minute."""
    return {
        "short": await caller.refused(caller.infer(caller.rows[:8], timeout=1)),
        "long": await caller.probabilities(caller.rows[:8], timeout=60_000_000),
    }


async def call_deadline(caller: Caller) -> Any:
    """With gRPC alone: the deadline of the call, with more digits than arrive within it."""
    many = np.tile(caller.rows, (16, 1))
    return {
        "short": await caller.refused(caller.infer(many, client_timeout=1e-6)),
        "long": await caller.probabilities(caller.rows[:8], client_timeout=60),
    }


async def refusals(caller: Caller) -> Any:
    """Requests that are wrong, each in another way."""
    rows = caller.rows[:2]
    wrong = {
        "model": caller.infer(rows, model="nobody"),
        "version": caller.infer(rows, model_version="7"),
        "shape": caller.infer(np.zeros((2, 14, 56), np.float32)),
        "range": caller.infer(rows * 255),
        "value": caller.infer(rows * np.nan),
        "datatype": caller.infer(rows.astype(np.float64)),
        "input": caller.infer(rows, name="picture"),
        "output": caller.infer(rows, outputs=[caller.module.InferRequestedOutput("logits")]),
        "sequence": caller.infer(rows, sequence_id=1, sequence_start=True),
    }
    return {name: await caller.refused(call) for name, call in wrong.items()}


async def not_offered(caller: Caller) -> Any:
    """Extensions of Triton that the server does not list."""
    return {
        "shared memory": await caller.refused(caller.ask("get_system_shared_memory_status")),
        "trace": await caller.refused(caller.ask("get_trace_settings")),
        "log": await caller.refused(caller.ask("get_log_settings")),
    }


async def request_id(caller: Caller) -> Any:
    """Echoed, whatever it is made of."""
    result = await caller.infer(caller.rows[:1], request_id="order 7, Zürich")
    reply = result.get_response()
    return reply.id if caller.is_grpc else reply["id"]


async def version_by_number(caller: Caller) -> Any:
    """The version in the request."""
    return await caller.probabilities(caller.rows[:8], model_version="1")


async def compression(caller: Caller) -> Any:
    """Over gRPC a compressed call; over HTTP a reply that may be compressed."""
    option = "compression_algorithm" if caller.is_grpc else "response_compression_algorithm"
    return await caller.probabilities(caller.rows[:8], **{option: "gzip"})


async def compressed_body(caller: Caller) -> Any:
    """With HTTP alone: a request with Content-Encoding."""
    return await caller.refused(caller.infer(caller.rows[:8], request_compression_algorithm="gzip"))


async def concurrent(caller: Caller) -> Any:
    """64 requests at once, one digit each; the answers in the order of the digits."""
    results = await caller.all_at_once()
    return [result.as_numpy("probabilities")[0].tolist() for result in results]


FEATURES = {
    feature.__name__: feature
    for feature in (
        readiness,
        metadata,
        config,
        statistics,
        raw,
        datatypes,
        classification,
        repository,
        repository_refusals,
        deadline,
        refusals,
        not_offered,
        request_id,
        version_by_number,
        compression,
        concurrent,
    )
}
OF_GRPC = {"call_deadline": call_deadline}
OF_HTTP = {"json": json, "compressed_body": compressed_body}


async def main(kind: str, address: str, folder: str) -> None:
    """Use every feature of one of the clients."""
    caller = Caller(kind, address, Path(folder))
    features = FEATURES | (OF_GRPC if caller.is_grpc else OF_HTTP)
    bound = {name: partial(feature, caller) for name, feature in features.items()}
    await tell(f"tritonclient.{kind} {version('tritonclient')}", bound)
    await caller.ask("close")


asyncio.run(main(*sys.argv[1:]))
