"""What the archive's handler answers HTTP callers: the best classes on request, and what is too much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqserve_models.handler import Handler
from support.handler import (
    FAILED,
    GREY,
    JSON,
    Answering,
    FakeContext,
    Recorded,
    brightness,
    doubling,
    expected_probabilities,
    gateway_row,
    load,
    over_http,
)


@pytest.fixture
def tiny(tmp_path: Path) -> Handler:
    return load(tmp_path, "tiny_image", brightness())


@pytest.fixture
def line(tmp_path: Path) -> Handler:
    return load(tmp_path, "line", doubling())


@pytest.fixture
def digit(tmp_path: Path) -> Handler:
    """Answers one image with fixed probabilities, two of which are equal."""
    loaded = load(tmp_path, "digit", torch.nn.Identity())
    loaded.module = Answering(torch.tensor([[0.0, 0.1, 0.3, 0.1, 0.0, 0.4, 0.0, 0.1, 0.0, 0.0]]))
    return loaded


def best_of(loaded: Handler, count: str) -> list[Any]:
    """The `top_k` of a lone image."""
    _, answer = over_http(loaded, [[0.5] * 784], JSON | {"X-Top-K": count})
    listed: list[Any] = answer["predictions"][0]["top_k"]
    return listed


# ---- the best classes ----


def test_top_k_takes_the_place_of_all_probabilities(tiny: Handler) -> None:
    status, answer = over_http(tiny, [GREY, [1.0] * 6], JSON | {"X-Top-K": "1"})

    dark, bright = (float(row.max()) for row in expected_probabilities([GREY, [1.0] * 6]))
    assert (status, answer["model_name"], answer["model_version"]) == (200, "tiny_image", "1")
    assert answer["predictions"] == [
        {**best, "top_k": [best]}
        for best in (
            {"label": "dark", "index": 0, "probability": pytest.approx(dark, abs=1e-6)},
            {"label": "bright", "index": 1, "probability": pytest.approx(bright, abs=1e-6)},
        )
    ]


def test_the_best_come_first_and_ties_go_to_the_lower_index(digit: Handler) -> None:
    assert best_of(digit, "4") == [
        {"label": "5", "index": 5, "probability": pytest.approx(0.4)},
        {"label": "2", "index": 2, "probability": pytest.approx(0.3)},
        {"label": "1", "index": 1, "probability": pytest.approx(0.1)},
        {"label": "3", "index": 3, "probability": pytest.approx(0.1)},
    ]


@pytest.mark.parametrize(("count", "listed"), [("10", 10), ("11", 10), ("999999999", 10), ("003", 3)])
def test_no_more_classes_are_listed_than_there_are(digit: Handler, count: str, listed: int) -> None:
    assert len({best["index"] for best in best_of(digit, count)}) == listed


def test_a_model_without_labels_lists_indices(digit: Handler) -> None:
    digit.signature = digit.signature | {"labels": []}

    assert best_of(digit, "1") == [{"index": 5, "probability": pytest.approx(0.4)}]


@pytest.mark.parametrize("name", ["x-top-k", "X-TOP-K"])
def test_the_name_of_the_header_counts_in_any_case(tiny: Handler, name: str) -> None:
    _, answer = over_http(tiny, GREY, JSON | {name: "2"})

    assert [best["label"] for best in answer["predictions"][0]["top_k"]] == ["dark", "bright"]


@pytest.mark.parametrize(
    "text",
    ["0", "000", "-1", "+1", "1.0", "1e1", "0x1", "", " ", "all", "1,2", "٣", "1000000000", "9" * 5000],
)
def test_a_number_of_classes_that_is_none_is_refused_before_anything_runs(tiny: Handler, text: str) -> None:
    tiny.module = recorded = Recorded(tiny.module)

    status, answer = over_http(tiny, GREY, JSON | {"X-Top-K": text})

    assert (status, answer["reason"]) == (400, "TOP_K_NOT_ACCEPTED")
    assert answer["error"].startswith("image: X-Top-K '")
    assert answer["error"].endswith("; accepted: a whole number from 1 to 999999999")
    assert len(answer["error"]) < 200
    assert recorded.batch_sizes == []


def test_a_regression_model_has_no_classes_to_list(line: Handler) -> None:
    status, answer = over_http(line, [1.5], JSON | {"X-Top-K": "1"})

    assert (status, answer["reason"]) == (400, "TOP_K_NOT_ACCEPTED")
    assert (
        answer["error"]
        == "x: X-Top-K '1'; accepted: no X-Top-K, since this model gives values and no classes"
    )


def test_each_row_of_a_batch_is_answered_as_it_asks(tiny: Handler) -> None:
    rows: list[dict[str, Any]] = [{"body": GREY}, {"body": GREY}, {"body": GREY}, gateway_row(GREY, (1, 6))]
    headers: list[dict[str, Any]] = [JSON, JSON | {"X-Top-K": "1"}, JSON | {"X-Top-K": "none"}, {}]
    context = FakeContext(Path(), headers)

    replies = tiny.handle(rows, context)

    assert context.statuses == [200, 200, 400, 200]
    plain, listed = (json.loads(reply)["predictions"][0] for reply in replies[:2])
    assert set(plain) == {"label", "index", "probability", "probabilities"}
    assert set(listed) == {"label", "index", "probability", "top_k"}
    assert json.loads(replies[2])["reason"] == "TOP_K_NOT_ACCEPTED"
    np.testing.assert_allclose(
        np.frombuffer(replies[3][1:], "<f4"), expected_probabilities(GREY)[0], atol=1e-6
    )


def test_a_number_that_is_not_finite_fails_even_where_it_would_not_be_listed(digit: Handler) -> None:
    digit.module = Answering(torch.tensor([[float("nan"), 1.0, *[0.0] * 8]]))

    assert over_http(digit, [0.5] * 784, JSON | {"X-Top-K": "1"}) == (
        500,
        {"error": FAILED, "reason": "INTERNAL"},
    )


# ---- too much ----


def test_a_reply_that_torchserve_would_not_carry_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"model_name": "line", "model_version": "1", "predictions": [[3.0]]})
    monkeypatch.setenv("SEQSERVE_TORCHSERVE_REPLY_BYTES", str(len(body)))
    line = load(tmp_path, "line", doubling())

    assert over_http(line, [1.5], JSON)[0] == 200
    status, answer = over_http(line, [1.5, 1.5], JSON)
    assert (status, answer["reason"]) == (413, "MESSAGE_TOO_LARGE")
    assert answer["error"] == f"the reply has more than {len(body)} bytes; send fewer examples at once"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ([0.5] * 1025, JSON),
        (
            bytes(1025),
            {
                "Content-Type": "application/octet-stream",
                "X-Tensor-Shape": "1025",
                "X-Tensor-Datatype": "UINT8",
            },
        ),
    ],
    ids=["json", "raw"],
)
def test_more_examples_than_one_request_may_carry_are_refused(
    line: Handler, body: object, headers: dict[str, str]
) -> None:
    status, answer = over_http(line, body, headers)

    assert (status, answer["reason"]) == (400, "TOO_MANY_EXAMPLES")
    assert answer["error"] == "x: 1025 examples; accepted: at most 1024 in one request"


def test_a_batch_of_the_gateway_may_be_larger(line: Handler) -> None:
    context = FakeContext(Path(), [{}])

    (reply,) = line.handle([gateway_row([0.5] * 2000, (2000,))], context)

    assert np.frombuffer(reply[1:], "<f4").tolist() == [1.0] * 2000
