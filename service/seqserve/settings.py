"""Everything that can be set, in one frozen class; only the composition root reads it.

A flag beats the environment (`SEQSERVE_GRPC_PORT`), which beats the file (`--config`, TOML), which
beats the default. Units stand in the names; 0 as a port means a free one, chosen at start.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from seqserve.client_settings import Clients
from seqserve.engines.torchserve.addresses import parse_addresses
from seqserve.model_settings import ModelSection, ModelSettings, PolicyText, room_fault
from seqserve.repository.policy import VersionPolicy
from seqserve.signature import NAME_PATTERN

ENV_PREFIX = "SEQSERVE_"
LEAST_AGE_SECONDS = 0.1
SECTIONS = frozenset({"clients", "models"})
"""Settings that are tables: no flags, and their variables hold JSON."""

ModelName = Annotated[str, Field(pattern=NAME_PATTERN)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=86400)]


class Settings(BaseSettings):
    """The gateway's settings. Build it with `settings_reading.read_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        regex_engine="python-re",
        hide_input_in_errors=True,
    )

    model_store: Path = Field(Path("model-store"), description="Folder with <name>-<version>.mar archives.")
    engine: Literal["embedded", "torchserve"] = Field("embedded", description="What runs the models.")
    with_torchserve: bool = Field(default=False, description="Run a TorchServe beside it, for HTTP users.")
    device: str = Field(
        "auto", description="auto, cpu, cuda or cuda:N; TorchServe takes all GPUs, or with cpu none."
    )
    allow_tf32: bool = Field(
        default=False, description="On a GPU, round to TF32 for speed; answers then differ from the CPU's."
    )

    front: Literal["auto", "python", "native"] = Field(
        "auto",
        description="What answers gRPC; auto: native where it is built and host is a loopback address or "
        "behind_proxy is set. Clients and traces take its hot path away.",
    )
    behind_proxy: bool = Field(
        default=False,
        description="A proxy stands in front of the gRPC port: no stranger speaks HTTP/2 to it.",
    )

    ready_when: Literal["all", "any"] = Field(
        "all", description="Ready once all models of the store have a ready version, or any has."
    )
    version_policy: PolicyText = Field(
        "all", description="Versions that are loaded: all, latest:N or listed:1,3."
    )
    watch: Literal["auto", "poll", "off"] = Field(
        "auto", description="Follow the store and the --config file; poll: without the system's events."
    )
    watch_interval_seconds: float = Field(
        2.0, ge=0.1, le=3600, description="How often to look, events or not."
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on, for gRPC and HTTP.")
    grpc_port: Port = Field(8001, description="gRPC.")
    http_port: Port = Field(8000, description="REST, /metrics, /healthz, /readyz.")
    health_port: Port | None = Field(
        None, description="gRPC health once more, for probes, in a thread of its own; default: none."
    )
    admin_port: Port | None = Field(
        None, description="Load and unload models over gRPC, on 127.0.0.1 only; default: none."
    )
    admin_on_inference_port: bool = Field(
        default=False, description="Load and unload on the gRPC and HTTP ports as well, for Triton's clients."
    )

    tls_key: Path | None = Field(None, description="PEM file with the private key of tls_certificate.")
    tls_certificate: Path | None = Field(
        None,
        validate_default=True,
        description="PEM file with the certificate chain: gRPC, HTTP and admin speak TLS; default: none.",
    )
    tls_client_ca: Path | None = Field(
        None, description="PEM file with who may sign clients' certificates: every client must show one."
    )

    trusted_keys: Path | None = Field(
        None, description="Public key (PEM) of who may attest archives, or a folder with NAME.pub files."
    )
    attestation: Literal["auto", "require", "warn", "off"] = Field(
        "auto",
        description="Archives without a trusted attestation: refused, told of, or taken; "
        "auto: require where there are trusted_keys, else off.",
    )
    trust_external: bool = Field(
        default=False,
        description="Under require, run models in a TorchServe of others, whose archives nobody here checks.",
    )

    max_queue_delay_seconds: Seconds = Field(
        0.0, description="How long an idle engine waits for a fuller batch."
    )
    max_request_examples: int = Field(1024, ge=1, description="Examples that one request may carry.")
    max_queue_size: int = Field(4096, ge=1, description="Examples that may wait, for each model version.")
    max_batch_seconds: float = Field(
        30.0, gt=0, le=86400, description="A batch that takes longer makes its model not ready."
    )
    max_message_bytes: int = Field(
        0, ge=0, le=2**31 - 1,
        description="Largest gRPC message and HTTP body; 0: what the models need, at least 16 MiB.",
    )  # fmt: skip
    max_http_connections: int = Field(
        1024, ge=1, le=2**20, description="HTTP connections at once; more are closed."
    )
    max_grpc_connections: int = Field(
        1024, ge=1, le=2**20, description="gRPC connections at once; more are closed."
    )
    max_concurrent_streams: int = Field(
        1024, ge=1, le=2**31 - 1, description="Calls at once on one gRPC connection; more wait."
    )
    max_timeout_seconds: float = Field(
        300.0, gt=0, le=86400, description="No caller is kept longer, whatever its deadline."
    )
    default_timeout_seconds: float = Field(
        30.0, gt=0, le=86400, description="Deadline of a caller who sets none."
    )
    keepalive_seconds: float = Field(
        60.0, ge=1, le=86400, description="Ping gRPC peers that say nothing for so long."
    )
    keepalive_minimum_seconds: float = Field(
        10.0, ge=0, le=86400, description="Peers that ping more often are disconnected."
    )
    handshake_timeout_seconds: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="How long a new connection may take to shake hands: gRPC, and HTTP over TLS.",
    )
    idle_timeout_seconds: float = Field(
        600.0, gt=0, le=86400, description="A gRPC connection without calls is closed after that."
    )
    max_connection_age_seconds: Seconds = Field(
        0.0,
        description="A gRPC connection takes no new calls after about that, so its client looks for gateways "
        "again; calls under way go on; 0: it may stay.",
    )
    max_connection_age_grace_seconds: Seconds = Field(
        0.0, description="How long calls, streams too, may go on on such a connection; 0: until they end."
    )
    compute_slots: int = Field(
        0, ge=0, description="Batches computed at once; 0: cores over threads, 1 a GPU."
    )
    intra_op_threads: int = Field(1, ge=1, description="Threads that one forward pass uses on the CPU.")

    drain_pause_seconds: Seconds = Field(
        1.0, description="Not ready, still answering: time for load balancers."
    )
    drain_grace_seconds: Seconds = Field(20.0, description="How long calls in flight may take at shutdown.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")

    otlp_endpoint: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        description="Send traces there over OTLP/gRPC, http://HOST:4317; empty: none.",
    )

    torchserve_folder: Path | None = Field(
        None,
        description="Where the managed TorchServe keeps logs and keys, of its own; default: a temporary one.",
    )
    torchserve_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address on which the managed TorchServe takes predictions, over HTTP and gRPC; "
        "its management and metrics stay on 127.0.0.1.",
    )
    exit_with_torchserve: bool = Field(
        default=False,
        description="When the managed TorchServe ends, drain and end with status 1; else start it again.",
    )
    torchserve_workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="Workers that TorchServe has for a model version; a batch is split over them.",
    )
    torchserve_token_minutes: float = Field(
        60.0, ge=0.05, le=525600, description="How long the managed TorchServe's tokens live; renewed before."
    )
    torchserve_share_token: Path | None = Field(
        None,
        description="File that the managed TorchServe's inference token, and no other key of it, is kept in "
        "for gateways beside it, mode 0600; default: none.",
    )
    torchserve_http_port: Port = Field(8080, description="The managed TorchServe's HTTP inference.")
    torchserve_management_port: Port = Field(8081, description="Its HTTP management.")
    torchserve_metrics_port: Port = Field(8082, description="Its metrics.")
    torchserve_grpc_port: Port = Field(7070, description="Its gRPC inference.")
    torchserve_grpc_management_port: Port = Field(7071, description="Its gRPC management.")

    torchserve_address: str = Field(
        "",
        description="TorchServes that somebody else runs, HOST:PORT,HOST:PORT of gRPC; empty: a managed one.",
    )
    torchserve_token_file: Path | None = Field(
        None, description="Their inference token: the file with it, or their key_file.json; default: none."
    )
    torchserve_tls: bool = Field(default=False, description="Speak TLS with them.")
    torchserve_tls_ca: Path | None = Field(
        None, description="PEM file with who may sign their certificates; default: those gRPC brings along."
    )

    models: dict[ModelName, ModelSection] = Field(
        default_factory=dict, description="A section for each model: [models.NAME]."
    )

    clients: Clients = Field(
        default_factory=dict,
        description="A section for each client that has tokens: [clients.NAME]; none: nobody needs a token.",
    )

    @field_validator("model_store", mode="before")
    @classmethod
    def _names_a_folder(cls, value: object) -> object:
        if value == "":  # it would be the current folder
            raise ValueError("must not be empty")
        return value

    # Checks of two settings stand at the later one, which pydantic tells of those before it that are
    # valid: so they are made, and told, beside all others. A check of the whole would come only after them.

    @field_validator("tls_certificate")
    @classmethod
    def _has_its_key(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        key = info.data.get("tls_key", path)
        if (path is None) != (key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return path

    @field_validator("tls_client_ca")
    @classmethod
    def _goes_with_a_certificate(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and info.data.get("tls_certificate", path) is None:
            raise ValueError("it goes with tls_certificate")
        return path

    @field_validator("attestation")
    @classmethod
    def _has_keys_to_check_with(cls, policy: str, info: ValidationInfo) -> str:
        if policy in ("require", "warn") and info.data.get("trusted_keys", policy) is None:
            raise ValueError(f"{policy} goes with trusted_keys")
        return policy

    @field_validator("max_queue_size")
    @classmethod
    def _takes_the_largest_request(cls, size: int, info: ValidationInfo) -> int:
        if fault := room_fault(size, info.data.get("max_request_examples")):
            raise ValueError(fault)
        return size

    @field_validator("default_timeout_seconds")
    @classmethod
    def _is_within_the_longest(cls, seconds: float, info: ValidationInfo) -> float:
        longest = info.data.get("max_timeout_seconds", math.inf)
        if seconds > longest:
            raise ValueError(f"{seconds:g} is more than max_timeout_seconds, {longest:g}")
        return seconds

    @field_validator("max_connection_age_seconds")
    @classmethod
    def _outlives_a_call(cls, seconds: float) -> float:
        if 0 < seconds < LEAST_AGE_SECONDS:
            raise ValueError(f"0, or at least {LEAST_AGE_SECONDS}")  # else calls meet connections that end
        return seconds

    @field_validator("torchserve_host")
    @classmethod
    def _is_what_torchserve_takes(cls, host: str) -> str:
        if ":" in host:
            raise ValueError("TorchServe takes a name or an address of IPv4")
        return host

    @field_validator("max_connection_age_grace_seconds")
    @classmethod
    def _goes_with_an_age(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds and not info.data.get("max_connection_age_seconds", seconds):
            raise ValueError("it goes with max_connection_age_seconds")
        return seconds

    @field_validator("torchserve_address")
    @classmethod
    def _leaves_sharing_to_who_manages_it(cls, text: str, info: ValidationInfo) -> str:
        if text and info.data.get("torchserve_share_token") is not None:
            raise ValueError("torchserve_share_token goes with a managed TorchServe")
        return text

    @field_validator("torchserve_address")
    @classmethod
    def _is_a_list_of_addresses(cls, text: str, info: ValidationInfo) -> str:
        if text:
            parse_addresses(text)
            if info.data.get("engine") != "torchserve":
                raise ValueError("it goes with engine torchserve")
        return text

    @field_validator("torchserve_token_file", "torchserve_tls", "torchserve_tls_ca")
    @classmethod
    def _goes_with_addresses(cls, value: object, info: ValidationInfo) -> object:
        if value and not info.data.get("torchserve_address", "unknown"):
            raise ValueError("it goes with torchserve_address")
        return value

    @field_validator("torchserve_tls_ca")
    @classmethod
    def _goes_with_tls(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is not None and not info.data.get("torchserve_tls", True):
            raise ValueError("it goes with torchserve_tls")  # whoever names one means to be safe
        return path

    def of_model(self, name: str) -> ModelSettings:
        """A model's own section, empty where it has none."""
        return self.models.get(name, ModelSettings())

    def policy_of(self, name: str) -> VersionPolicy:
        """Which of a model's versions are loaded."""
        return VersionPolicy.parse(self.of_model(name).version_policy or self.version_policy)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library calls by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library calls by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file of `toml_file`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
