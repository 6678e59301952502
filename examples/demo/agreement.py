"""Whether all paths gave the same answers, and whether the gateway counted them."""

from __future__ import annotations

import httpx
import numpy as np
import numpy.typing as npt
from prometheus_client.parser import text_string_to_metric_families
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from examples.demo.command import RunningGateway
from examples.demo.paths import Answers
from seqserve.golden import tolerance_on


class Disagreement(Exception):
    """Two paths, or a counter and what was sent, differ."""


def show_answers(console: Console, answers: dict[str, Answers], truth: list[int]) -> None:
    """A row for each path, a column for each digit: label and probability."""
    table = Table(Column("path", no_wrap=True), *(f"true {digit}" for digit in truth), box=SIMPLE)
    for path, given in answers.items():
        best = given.probabilities.max(axis=1)
        table.add_row(
            path, *(f"{label} {share:.1%}" for label, share in zip(given.labels, best, strict=True))
        )
    console.print(table)


def check_agreement(answers: dict[str, Answers]) -> None:
    """Every path against the first, as the golden check compares. Raises Disagreement."""
    (first, expected), *others = answers.items()
    for path, given in others:
        difference = np.abs(given.probabilities - expected.probabilities)
        bound = _bound(expected, "cuda" if "cuda" in (expected.device, given.device) else "cpu")
        is_clear = np.diff(np.sort(expected.probabilities)[:, -2:])[:, 0] > bound.max()
        same_labels = np.equal(given.labels, expected.labels) | ~is_clear
        if not (difference <= bound).all() or not same_labels.all():
            raise Disagreement(f"{path} differs from {first} by up to {difference.max():.2g}")


def _bound(expected: Answers, device: str) -> npt.NDArray[np.floating]:
    tolerance = tolerance_on(device)
    bound: npt.NDArray[np.floating] = tolerance.absolute + tolerance.relative * np.abs(expected.probabilities)
    return bound


def check_request_count(console: Console, gateway: RunningGateway, model: str, *, sent: int) -> None:
    """The gateway's counter of answered requests against what was sent. Raises Disagreement."""
    text = httpx.get(f"{gateway.http}/metrics").text
    counted = sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "seqserve_requests_total" and sample.labels["model"] == model
    )
    if counted != sent:
        raise Disagreement(f"seqserve_requests_total says {counted:g}, and {sent} requests were sent")
    console.print(f"seqserve_requests_total: {counted:g}, as many as were sent")
