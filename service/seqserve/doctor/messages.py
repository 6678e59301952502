"""Whether the largest requests of the models fit through both hops: into the gateway and into TorchServe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seqserve.doctor.finding import Finding, fault, or_ok, warning
from seqserve.engines.torchserve.config import LARGEST_MESSAGE_BYTES
from seqserve.engines.torchserve.wire import needed_message_bytes
from seqserve.message_size import MOST_BYTES, message_limit_bytes, needed_bytes
from seqserve.settings import Settings
from seqserve.signature import Signature

CHECK = "messages"


def check_messages(
    settings: Settings, signatures: Sequence[Signature], *, with_torchserve: bool
) -> list[Finding]:
    """with_torchserve: whether batches, or a second set of callers, go through a TorchServe."""
    limit = message_limit_bytes(settings.max_message_bytes, signatures, settings.max_request_examples)
    findings = [one for signature in signatures for one in _into_the_gateway(settings, signature, limit)]
    if with_torchserve:
        findings += [one for signature in signatures for one in _into_torchserve(signature)]
    return or_ok(
        findings, CHECK, f"up to {limit:,} bytes, enough for {settings.max_request_examples} examples"
    )


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


def _into_torchserve(signature: Signature) -> Iterator[Finding]:
    needed = needed_message_bytes([signature])
    if needed > LARGEST_MESSAGE_BYTES:
        found = (
            f"a batch of {signature.max_batch_size} examples of {signature.name} {signature.version} is "
            f"{needed:,} bytes, TorchServe takes {LARGEST_MESSAGE_BYTES:,}"
        )
        yield fault(CHECK, found, "Build it again with a smaller max_batch_size in its definition.")
