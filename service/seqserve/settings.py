"""Everything that can be set, in one frozen class; only the composition root reads it.

A flag beats the environment (`SEQSERVE_GRPC_PORT`), which beats the file (`--config`, TOML), which
beats the default. Units stand in the names; 0 as a port means a free one, chosen at start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from seqserve.errors import SettingsInvalid

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=86400)]


class Settings(BaseSettings):
    """The gateway's settings. Build it with `read_settings`."""

    model_config = SettingsConfigDict(env_prefix="SEQSERVE_", frozen=True, extra="forbid")

    model_store: Path = Field(Path("model-store"), description="Folder with <name>-<version>.mar archives.")
    engine: Literal["embedded", "torchserve"] = Field("embedded", description="What runs the models.")
    with_torchserve: bool = Field(default=False, description="Run a TorchServe beside it, for HTTP users.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N (embedded engine).")

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on, for gRPC and HTTP.")
    grpc_port: Port = Field(8001, description="gRPC.")
    http_port: Port = Field(8000, description="/metrics, /healthz, /readyz.")

    max_queue_delay_seconds: Seconds = Field(
        0.0, description="How long an idle engine waits for a fuller batch."
    )
    max_queue_size: int = Field(4096, ge=1, description="Examples that may wait, for each model version.")
    max_request_examples: int = Field(1024, ge=1, description="Examples that one request may carry.")
    max_message_bytes: int = Field(
        16 * 2**20, ge=1024, le=2**31 - 1, description="Largest gRPC message taken or sent."
    )
    default_timeout_seconds: float = Field(
        30.0, gt=0, le=86400, description="Deadline of a caller who sets none."
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
        None, description="Where the managed TorchServe keeps logs and keys; default: a temporary one."
    )
    torchserve_http_port: Port = Field(8080, description="The managed TorchServe's HTTP inference.")
    torchserve_management_port: Port = Field(8081, description="Its HTTP management.")
    torchserve_metrics_port: Port = Field(8082, description="Its metrics.")
    torchserve_grpc_port: Port = Field(7070, description="Its gRPC inference.")
    torchserve_grpc_management_port: Port = Field(7071, description="Its gRPC management.")

    @field_validator("model_store", mode="before")
    @classmethod
    def _names_a_folder(cls, value: object) -> object:
        if value == "":  # it would be the current folder
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _a_request_fits_the_queue(self) -> Self:
        if self.max_queue_size < self.max_request_examples:
            raise ValueError(
                f"max_queue_size: {self.max_queue_size} is less than max_request_examples, "
                f"{self.max_request_examples}; such requests could never be taken"
            )
        return self

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


def read_settings(flags: dict[str, Any], config: Path | None = None) -> Settings:
    """Settings from flags, environment and file. Raises SettingsInvalid that lists every fault."""
    if config is not None and not config.is_file():
        raise SettingsInvalid(f"config: no file {config}", hint="give --config an existing TOML file")

    class FileSettings(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return FileSettings(**flags)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise SettingsInvalid("; ".join(faults), hint="see `seqserve serve --help`") from error
    except ValueError as error:  # the TOML file does not parse
        raise SettingsInvalid(f"config {config}: {error}", hint="the file must be TOML") from error
