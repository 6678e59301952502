"""Whether the largest requests of the models fit through both hops: into the gateway and into TorchServe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seqserve.doctor.finding import Finding, or_ok, warning
from seqserve.engines.torchserve.wire import message_bytes
from seqserve.message_size import MOST_BYTES, message_limit_bytes, needed_bytes
from seqserve.settings import Settings
from seqserve.signature import Signature

CHECK = "messages"
DEFAULT_BYTES = 6_553_500
"""What a TorchServe takes that nobody has told otherwise. Source: ConfigManager.java."""


def check_messages(
    settings: Settings, signatures: Sequence[Signature], *, with_torchserve: bool, is_external: bool
) -> list[Finding]:
    """Both hops.

    with_torchserve: whether batches, or a second set of callers, go through a TorchServe.
    is_external: whether somebody else runs it, with limits that nobody here knows.
    """
    limit = message_limit_bytes(settings.max_message_bytes, signatures, settings.max_request_examples)
    findings = [one for signature in signatures for one in _into_the_gateway(settings, signature, limit)]
    enough = f"up to {limit:,} bytes, enough for {settings.max_request_examples} examples"
    into_gateway = or_ok(findings, CHECK, enough)
    if not (with_torchserve and signatures):
        return into_gateway
    largest = max(signatures, key=message_bytes)
    findings = [
        one for signature in signatures for one in _into_torchserve(signature, is_external=is_external)
    ]
    return into_gateway + or_ok(findings, CHECK, f"the largest to TorchServe: {_batch(largest)}")


def _into_the_gateway(settings: Settings, signature: Signature, limit: int) -> Iterator[Finding]:
    needed = needed_bytes(signature, settings.max_request_examples)
    if needed <= limit:
        return
    what = f"{signature.name} {signature.version}"
    found = (
        f"{settings.max_request_examples} examples of {what} are {needed:,} bytes, "
        f"a message may have {limit:,}"
    )
    if needed > MOST_BYTES:
        yield warning(CHECK, found, "Set --max-request-examples lower: gRPC takes no larger messages.")
    else:
        yield warning(CHECK, found, "Set --max-message-bytes 0, which takes what the models need.")


def _into_torchserve(signature: Signature, *, is_external: bool) -> Iterator[Finding]:
    """No batch that a signature may have is too large for a TorchServe whose limit is set."""
    needed = message_bytes(signature)
    if is_external and needed > DEFAULT_BYTES:
        found = f"{_batch(signature)}, TorchServe takes {DEFAULT_BYTES:,} by default"
        advice = f"Set max_request_size and max_response_size of those servers to {needed} or more."
        yield warning(CHECK, found, advice)


def _batch(signature: Signature) -> str:
    what = f"{signature.max_batch_size} examples of {signature.name} {signature.version}"
    return f"a batch of {what} is {message_bytes(signature):,} bytes"
