"""What is examined: settings, and what they make a gateway need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from seqserve.doctor.contents import StoreContents, read_contents
from seqserve.engines.torchserve.config import TorchServeSettings
from seqserve.engines.torchserve.wire import needed_message_bytes
from seqserve.message_size import FLOOR_BYTES
from seqserve.settings import Settings
from seqserve.trust_setup import trust_of

Extra = Literal["embedded", "torchserve", "otel"]

NO_TORCHSERVE = "these settings run no TorchServe"


@dataclass(frozen=True)
class Subject:
    """Settings as `serve` would have them."""

    settings: Settings

    @property
    def runs_torchserve(self) -> bool:
        """Whether the gateway starts a TorchServe of its own."""
        own = self.settings
        return own.with_torchserve or (own.engine == "torchserve" and not own.torchserve_address)

    @property
    def asks_torchserve(self) -> bool:
        """Whether the gateway asks TorchServes that somebody else runs."""
        return self.settings.engine == "torchserve" and bool(self.settings.torchserve_address)

    @property
    def is_embedded(self) -> bool:
        """Whether models run in the gateway's own process."""
        return self.settings.engine == "embedded"

    @property
    def extras(self) -> tuple[Extra, ...]:
        """The extras of the package that must be installed."""
        needed: dict[Extra, bool] = {
            "embedded": self.is_embedded,
            "torchserve": self.runs_torchserve,
            "otel": bool(self.settings.otlp_endpoint),
        }
        return tuple(extra for extra, is_needed in needed.items() if is_needed)

    @property
    def workers(self) -> int:
        """Processes in which the TorchServe that the gateway starts would have models; 0 without one."""
        return len(self.contents.sound) * self.settings.torchserve_workers if self.runs_torchserve else 0

    @property
    def heap_megabytes(self) -> int:
        """What the Java of the TorchServe that the gateway starts may use; 0 without one."""
        if not self.runs_torchserve:
            return 0
        wished = self.settings.max_message_bytes or FLOOR_BYTES
        largest = max(wished, needed_message_bytes(self.contents.signatures))
        return TorchServeSettings(max_message_bytes=largest).heap_limit_megabytes

    @cached_property
    def contents(self) -> StoreContents:
        """Every archive of the store, read in full, which may take a while the first time."""
        return read_contents(self.settings.model_store, trust_of(self.settings))
