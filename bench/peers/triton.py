"""Triton with its Python backend, as the wheel of nvidia-pytriton brings it; the Open Inference Protocol."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.peers import programs
from bench.peers.installing import Environment
from bench.peers.model_files import ModelFiles
from bench.serving import HOST, Server, free_address, port_of, started
from bench.wires import oip_doors

LABEL = "Triton, Python backend"
PROGRAM = Path(programs.__file__).with_name("triton_model.py")
CONFIGURATION = """name: "{model}"
backend: "python"
max_batch_size: 256
input [{{ name: "{inputs[0]}" data_type: TYPE_FP32 dims: [{inputs[1]}] }}]
output [{{ name: "{outputs[0]}" data_type: TYPE_FP32 dims: [{outputs[1]}] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
dynamic_batching {{ max_queue_delay_microseconds: 0 }}
"""


@contextmanager
def triton(
    environment: Environment, files: ModelFiles, core: int, folder: Path
) -> Iterator[Mapping[str, Server]]:
    """The server and the stub that it starts."""
    place, log, address = folder / "triton", folder / "triton.log", free_address()
    _lay_out_model(files, place / "models" / files.name)
    _lay_out_backend(environment, place / "backends" / "python")
    command = [
        str(_server(environment) / "bin" / "tritonserver"),
        *("--model-repository", str(place / "models"), "--backend-directory", str(place / "backends")),
        *("--grpc-address", HOST, "--grpc-port", port_of(address), "--http-port", port_of(free_address())),
        *("--metrics-port", port_of(free_address()), "--log-info", "false"),
    ]
    with started(command, core, log, _variables(environment, files)) as process:
        yield {LABEL: Server(oip_doors(address), process, log)}


def _server(environment: Environment) -> Path:
    return environment.packages / "pytriton" / "tritonserver"


def _lay_out_model(files: ModelFiles, place: Path) -> None:
    (place / "1").mkdir(parents=True)
    shutil.copy(PROGRAM, place / "1" / "model.py")
    (place / "config.pbtxt").write_text(
        CONFIGURATION.format(model=files.name, inputs=files.inputs, outputs=files.outputs)
    )


def _lay_out_backend(environment: Environment, place: Path) -> None:
    stubs = _server(environment) / "python_backend_stubs" / ".".join(map(str, sys.version_info[:2]))
    shutil.copytree(_server(environment) / "backends" / "python", place)
    shutil.copy(stubs / "triton_python_backend_stub", place)


def _variables(environment: Environment, files: ModelFiles) -> dict[str, str]:
    """Its binaries need libpython and the wheel's own libraries, its stub the packages."""
    libraries = [sysconfig.get_config_var("LIBDIR"), str(environment.packages / "nvidia_pytriton.libs")]
    own = files.variables
    return own | {
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PYTHONPATH": os.pathsep.join([own["PYTHONPATH"], str(environment.packages)]),
    }
