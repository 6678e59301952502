"""Which version answers: labels that clients can name, and the weighted choice of a canary.

Pure functions over version numbers; they know neither repository nor settings.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

STABLE = "stable"
"""The label that answers callers who name no version."""


@dataclass(frozen=True, slots=True)
class Routing:
    """One model's labels (label → version) and weights (version → share; none: no canary)."""

    labels: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=dict)

    def version_for(self, asked: str, ready: Collection[str], request_id: str) -> str:
        """The number that answers: of a label, of the canary's choice, of `stable`, or the highest.

        asked: "" or a label or a number, as the caller sent it. ready: the numbers that can answer; where
        none can, and none is named, the result is "".
        """
        if asked:
            return self.labels.get(asked, asked)
        shares = {version: share for version, share in self.weights.items() if version in ready}
        chosen = choose(shares, request_id)
        return chosen or self.labels.get(STABLE) or max(ready, key=version_number, default="")

    def settled(self, before: Routing, up: Collection[str]) -> Routing:
        """These routes, but a label whose version is not up yet stays where it was, while that one is.

        So a label moves when its version can answer, and a roll-back to a version that has to be loaded
        first fails nobody. A first `stable` waits in the same way while others answer.
        """
        labels = {}
        for label, version in self.labels.items():
            old = before.labels.get(label, "")
            is_first = label == STABLE and not old and bool(up)
            if version in up or not (old in up or is_first):
                labels[label] = version
            elif old:
                labels[label] = old
        return Routing(labels, self.weights)


def choose(weights: Mapping[str, int], request_id: str) -> str:
    """A version by its share; the same id meets the same one. "" where none has a share.

    Weighted rendezvous hashing (Schindelhauer and Schomaker, SPAA 2005): when shares change, or a
    version comes or goes, only as many ids move as must.
    """
    scores = {
        version: -math.log(_unit(request_id, version)) / weight
        for version, weight in weights.items()
        if weight > 0
    }
    return min(scores, key=lambda version: (scores[version], version), default="")


def version_number(version: str) -> tuple[int, str]:
    """The order of versions; what is no number comes first."""
    return (int(version), version) if version.isascii() and version.isdecimal() else (0, version)


def _unit(request_id: str, version: str) -> float:
    """A number in (0, 1) that only depends on these two."""
    digest = hashlib.blake2b(f"{version}\0{request_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2**64
