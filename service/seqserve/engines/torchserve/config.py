"""What a managed TorchServe is started with: its files, command line and environment, as text.

Everything here is pure. TorchServe's options: its docs/configuration.md; the few that are not
there (`disable_token_authorization`, `system_metrics_cmd`) are in its ConfigManager.java.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
PREDICTION_PORTS = ("http", "grpc")
MESSAGE_SLACK_BYTES = 64 * 1024
LARGEST_MESSAGE_BYTES = 2**31 - 1 - MESSAGE_SLACK_BYTES  # TorchServe reads the limits as Java ints
HEAP_COPIES = 16  # seen to carry six largest messages at once, at 16 MB and at 100 MB
HTTP_THREADS = 32
"""Each call that starts workers blocks one of them, and with it every HTTP connection that it serves."""
SOCKET_PATH_BYTES = 107  # sun_path in Linux's <sys/un.h>, less the closing zero

# What TorchServe and the models' workers may see of our environment. Everything else stays here:
# secrets do, and so do TS_* and JAVA_* variables, which would win over the files below.
PASSED_VARIABLES = ("HOME", "LD_LIBRARY_PATH", "TZ", "USER")
HANDLER_THREADS = "SEQSERVE_TORCHSERVE_THREADS"  # the archives' handler reads it
HANDLER_REPLY_BYTES = "SEQSERVE_TORCHSERVE_REPLY_BYTES"  # and this
PASSED_PREFIXES = ("CUDA_", "NVIDIA_")


@dataclass(frozen=True, slots=True)
class TorchServePorts:
    """TCP ports; 0 is a free one, chosen at start."""

    http: int = 8080
    management: int = 8081
    metrics: int = 8082
    grpc: int = 7070
    grpc_management: int = 7071


@dataclass(frozen=True, slots=True)
class TorchServeSettings:
    """How a managed TorchServe runs.

    folder: private folder for its configuration, keys and logs; None is a temporary one.
    host: address on which it takes predictions; all else stays on the loopback address.
    max_message_bytes: largest request and reply, over HTTP and gRPC.
    job_queue_size: requests that may wait for each model version.
    is_cpu_only: workers get no GPU, even where there is one.
    token_minutes: how long a token lives; they are renewed before that.
    intra_op_threads: CPU threads of one forward pass, in each worker.
    heap_megabytes: upper bound of the Java heap, raised where messages are large.
    """

    folder: Path | None = None
    host: str = LOOPBACK
    ports: TorchServePorts = TorchServePorts()
    max_message_bytes: int = 16 * 2**20
    job_queue_size: int = 100
    intra_op_threads: int = 1
    heap_megabytes: int = 512
    is_cpu_only: bool = False
    token_minutes: float = 60.0

    def host_of(self, port: str) -> str:
        """The address of one of the ports, by its name in TorchServePorts."""
        return self.host if port in PREDICTION_PORTS else LOOPBACK

    @property
    def own_host(self) -> str:
        """Where we reach the ports of predictions ourselves."""
        return LOOPBACK if self.host in EVERY_ADDRESS else self.host

    @property
    def message_limit_bytes(self) -> int:
        """`max_message_bytes`, as far as TorchServe can take it."""
        return min(self.max_message_bytes, LARGEST_MESSAGE_BYTES)

    @property
    def heap_limit_megabytes(self) -> int:
        """What Java may use at most."""
        return max(self.heap_megabytes, HEAP_COPIES * self.message_limit_bytes // 2**20)


@dataclass(frozen=True, slots=True)
class Programs:
    """What runs TorchServe: `java` and `python` are executables, `jar` holds the server."""

    java: Path
    jar: Path
    python: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie inside the folder of a managed TorchServe."""

    folder: Path

    @property
    def config(self) -> Path:
        """config.properties."""
        return self.folder / "config.properties"

    @property
    def log_config(self) -> Path:
        """Log4j's own configuration."""
        return self.folder / "log4j2.xml"

    @property
    def keys(self) -> Path:
        """The tokens; TorchServe writes it into its working folder, mode 0600."""
        return self.folder / "key_file.json"

    @property
    def logs(self) -> Path:
        """Folder of torchserve.log and console.log."""
        return self.folder / "logs"

    @property
    def console(self) -> Path:
        """What Java itself printed: why it did not start."""
        return self.logs / "console.log"

    @property
    def model_store(self) -> Path:
        """The archives that may be registered."""
        return self.folder / "model-store"

    @property
    def temporary(self) -> Path:
        """Unpacked archives, and the sockets between TorchServe and its workers."""
        return self.folder / "tmp"

    @property
    def short_lived(self) -> list[Path]:
        """What has no use once the server is gone; the logs stay."""
        return [self.model_store, self.temporary, self.keys, self.config, self.log_config]

    @property
    def strangers(self) -> list[str]:
        """What somebody else keeps in the folder, where no TorchServe of ours has run before; sorted.

        Its start would remove and replace things there, so only a folder of its own will do.
        """
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        return [] if "lock" in names else sorted(names - {self.logs.name, self.keys.name})

    @property
    def is_too_long(self) -> bool:
        """Whether a worker's socket would not fit into a socket address."""
        return len(os.fsencode(self.temporary / ".ts.sock.99999")) > SOCKET_PATH_BYTES


def config_properties(settings: TorchServeSettings, ports: TorchServePorts) -> str:
    """config.properties: tokens on, archives only from the model store, management on the loopback address.

    There is no path in it, so nothing needs to be escaped.
    """
    options = {
        "inference_address": f"http://{in_url(settings.host)}:{ports.http}",
        "management_address": f"http://{LOOPBACK}:{ports.management}",
        "metrics_address": f"http://{LOOPBACK}:{ports.metrics}",
        "grpc_inference_address": settings.host,
        "grpc_inference_port": ports.grpc,
        "grpc_management_address": LOOPBACK,
        "grpc_management_port": ports.grpc_management,
        "disable_token_authorization": "false",
        "token_expiration_min": settings.token_minutes,
        "enable_model_api": "true",
        "allowed_urls": "(?!)",  # matches no URL; archives in the model store are named, not linked
        "install_py_dep_per_model": "false",
        "enable_envvars_config": "false",
        "default_workers_per_model": 1,
        "job_queue_size": settings.job_queue_size,
        "number_of_netty_threads": HTTP_THREADS,
        "max_request_size": settings.message_limit_bytes + MESSAGE_SLACK_BYTES,
        "max_response_size": settings.message_limit_bytes + MESSAGE_SLACK_BYTES,
        "metrics_mode": "prometheus",
        "disable_system_metrics": "true",
    }
    if settings.is_cpu_only:
        options["number_of_gpu"] = 0
    return "".join(f"{key}={value}\n" for key, value in options.items())


def in_url(host: str) -> str:
    """An address as URLs and targets of gRPC write it."""
    return f"[{host}]" if ":" in host else host


def log_configuration() -> str:
    """log4j2.xml: one rolling file, at most 60 MB, and no lines for a request that went well.

    TorchServe's own configuration writes about twelve lines a request, to files and to standard output.
    """
    return """<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders>
    <RollingFile name="file" fileName="logs/torchserve.log" filePattern="logs/torchserve.%i.log">
      <PatternLayout pattern="%d{ISO8601} [%-5p] %t %c - %m%n"/>
      <Policies><SizeBasedTriggeringPolicy size="10 MB"/></Policies>
      <DefaultRolloverStrategy max="5"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="MODEL_LOG" level="info">
      <RegexFilter regex="Backend received inference at.*" onMatch="DENY" onMismatch="NEUTRAL"/>
    </Logger>
    <Logger name="org.pytorch.serve.wlm" level="warn"/>
    <Logger name="io.netty" level="error"/>
    <Root level="info"><AppenderRef ref="file"/></Root>
  </Loggers>
</Configuration>
"""


def command_line(programs: Programs, layout: Layout, settings: TorchServeSettings) -> list[str]:
    """The Java command, without the `torchserve` script around it, which detaches and keeps a pid file."""
    return [
        str(programs.java),
        f"-Xmx{settings.heap_limit_megabytes}m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",  # a server that lost a thread to it would answer nobody
        "-XX:-UsePerfData",  # it would leave a file in the system's temporary folder
        "--enable-native-access=ALL-UNNAMED",
        f"-Dmodel_server_home={programs.jar.parents[2]}",
        f"-Djava.io.tmpdir={layout.temporary}",
        f"-Dlog4j.configurationFile={layout.log_config.as_uri()}",
        "-cp",
        str(programs.jar),
        "org.pytorch.serve.ModelServer",
        "--python",
        str(programs.python),
        "-f",
        str(layout.config),
        "-s",
        str(layout.model_store),
        "-ncs",  # no snapshots: the last one would win over the configuration
    ]


def environment(
    programs: Programs, layout: Layout, settings: TorchServeSettings, ours: Mapping[str, str]
) -> dict[str, str]:
    """The environment of TorchServe and its workers; `ours` is this program's."""
    passed = {
        name: value
        for name, value in ours.items()
        if name in PASSED_VARIABLES or name.startswith(PASSED_PREFIXES)
    }
    return passed | {
        "JAVA_HOME": str(programs.java.parents[1]),
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": str(settings.intra_op_threads),
        HANDLER_THREADS: str(settings.intra_op_threads),
        HANDLER_REPLY_BYTES: str(settings.message_limit_bytes),
        "PATH": os.pathsep.join([str(programs.python.parent), ours.get("PATH", os.defpath)]),
        "TMPDIR": str(layout.temporary),
    }
