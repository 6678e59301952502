"""All targets, by name."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import (
    archives,
    attestation,
    golden,
    handler_http,
    images,
    keys,
    protobuf,
    rest,
    settings,
    signature,
    tensors,
)

TARGETS: dict[str, Target] = {
    module.TARGET.name: module.TARGET
    for module in (
        tensors,
        protobuf,
        rest,
        handler_http,
        images,
        signature,
        archives,
        golden,
        attestation,
        keys,
        settings,
    )
}
