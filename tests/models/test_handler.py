"""The archive's handler as a TorchServe worker calls it: loading, the gateway's rows, batches."""

from __future__ import annotations

import ast
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqserve_models import handler as handler_module
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
    over_gateway,
    over_http,
    unpack,
)


@pytest.fixture
def tiny(tmp_path: Path) -> Handler:
    return load(tmp_path, "tiny_image", brightness())


@pytest.fixture
def line(tmp_path: Path) -> Handler:
    return load(tmp_path, "line", doubling())


# ---- alone in an archive ----


def test_the_file_imports_nothing_that_a_plain_torchserve_lacks() -> None:
    tree = ast.parse(Path(str(handler_module.__file__)).read_text("utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    foreign = {name.split(".")[0] for name in modules} - sys.stdlib_module_names
    assert foreign == {"numpy", "torch", "PIL"}


def test_torchserves_first_call_loads_and_the_next_ones_answer(tmp_path: Path) -> None:
    context = FakeContext(unpack(tmp_path, "tiny_image", brightness()), [{}])
    assert handler_module.handle(None, context) is None
    replies = handler_module.handle([gateway_row(GREY, (1, 6))], context)
    assert replies is not None
    assert replies[0][:1] == b"\0"


def test_one_thread_runs_an_operation_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.delenv("SEQSERVE_TORCHSERVE_THREADS", raising=False)
        load(tmp_path, "line", doubling())
        assert torch.get_num_threads() == 1
        monkeypatch.setenv("SEQSERVE_TORCHSERVE_THREADS", "2")
        load(tmp_path, "line", doubling())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("member", ["signature.json", "tiny.pt"])
def test_a_changed_member_is_not_loaded(tmp_path: Path, member: str) -> None:
    unpack(tmp_path, "tiny_image", brightness())
    (tmp_path / member).write_bytes((tmp_path / member).read_bytes() + b" ")
    with pytest.raises(RuntimeError, match=f"{member} differs from SHA256SUMS"):
        Handler().initialize(FakeContext(tmp_path, []))


def test_a_member_without_a_sum_is_not_loaded(tmp_path: Path) -> None:
    unpack(tmp_path, "tiny_image", brightness())
    (tmp_path / "SHA256SUMS").write_text("")
    with pytest.raises(RuntimeError, match=r"signature\.json differs"):
        Handler().initialize(FakeContext(tmp_path, []))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_named_gpu_that_is_not_here_means_the_cpu(tmp_path: Path) -> None:
    loaded = Handler()
    loaded.initialize(FakeContext(unpack(tmp_path, "line", doubling()), [], gpu_id=0))
    assert over_http(loaded, [1.5], JSON)[1]["predictions"] == [[3.0]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_named_gpu_runs_the_model(tmp_path: Path) -> None:
    loaded = Handler()
    loaded.initialize(FakeContext(unpack(tmp_path, "line", doubling()), [], gpu_id=0))
    assert str(next(loaded.module.parameters()).device) == "cuda:0"
    assert over_http(loaded, [1.5], JSON)[1]["predictions"] == [[3.0]]


def test_of_the_deprecations_while_loading_only_torchscripts_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(tmp_path, "line", doubling())
    really_load = torch.jit.load

    def load_and_warn(*arguments: Any, **options: Any) -> object:
        warnings.warn("`torch.jit.load` is deprecated. Please switch", DeprecationWarning, stacklevel=1)
        warnings.warn("old numbers are deprecated", DeprecationWarning, stacklevel=1)
        return really_load(*arguments, **options)  # type: ignore[no-untyped-call]  # torch's

    monkeypatch.setattr(torch.jit, "load", load_and_warn)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Handler().initialize(FakeContext(tmp_path, []))
    assert [str(one.message) for one in told] == ["old numbers are deprecated"]


# ---- the gateway's rows ----


def test_a_row_of_the_gateway_is_answered_with_bytes(tiny: Handler) -> None:
    rows = [GREY, [1.0] * 6]
    reply = over_gateway(tiny, gateway_row(rows, (2, 2, 3)))
    assert reply[:1] == b"\0"
    answered = np.frombuffer(reply[1:], "<f4").reshape(2, 2)
    np.testing.assert_allclose(answered, expected_probabilities(rows), atol=1e-6)


def test_a_refused_row_of_the_gateway_says_reason_and_text(tiny: Handler) -> None:
    reply = over_gateway(tiny, gateway_row([0.5] * 6, (3, 2)))
    assert reply.startswith(b"\1SHAPE_NOT_ACCEPTED: image: [3,2]; accepted: ")


def test_a_shape_of_the_gateway_that_is_no_int64s_is_refused(tiny: Handler) -> None:
    row = gateway_row(GREY, (1, 6)) | {"shape": bytearray(b"\1\0\0")}
    assert over_gateway(tiny, row).startswith(b"\1RANK_NOT_ACCEPTED: image: 3 bytes")


def test_a_datatype_of_the_gateway_that_is_no_ascii_is_refused(tiny: Handler) -> None:
    row = gateway_row(GREY, (1, 6)) | {"datatype": bytearray(b"FP\xff")}
    assert over_gateway(tiny, row).startswith(b"\1DATATYPE_NOT_ACCEPTED: ")


def test_a_failure_inside_is_a_fixed_text_and_a_traceback_in_the_log(
    tiny: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.module = Answering(RuntimeError("weights at 0xdeadbeef"))
    with caplog.at_level(logging.ERROR):
        assert over_gateway(tiny, gateway_row(GREY, (1, 6))) == b"\2" + FAILED.encode()
        assert over_http(tiny, GREY, JSON) == (500, {"error": FAILED, "reason": "INTERNAL"})
    assert "0xdeadbeef" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    "answer", [torch.zeros(2, 2), torch.zeros(1, 3), torch.zeros(1, 2, dtype=torch.float64)], ids=str
)
def test_an_output_that_the_signature_does_not_describe_is_a_failure(
    tiny: Handler, answer: torch.Tensor
) -> None:
    tiny.module = Answering(answer)
    assert over_gateway(tiny, gateway_row(GREY, (1, 6))) == b"\2" + FAILED.encode()


# ---- batches ----


def test_good_rows_run_together_and_a_bad_one_harms_nobody(tiny: Handler) -> None:
    tiny.module = recorded = Recorded(tiny.module)
    rows: list[dict[str, Any]] = [
        {"body": GREY},
        {"body": b"not json"},
        gateway_row([[1.0] * 6, [0.0] * 6], (2, 6)),
        gateway_row([9.0] * 6, (1, 6)),
        {"body": b"hello"},
    ]
    context = FakeContext(Path(), [JSON, JSON, {}, {}, {"Content-Type": "text/plain"}])
    replies = tiny.handle(rows, context)
    assert recorded.batch_sizes == [3]
    assert context.statuses == [200, 400, 200, 200, 415]
    assert json.loads(replies[0])["predictions"][0]["probabilities"] == pytest.approx(
        expected_probabilities(GREY)[0].tolist(), abs=1e-6
    )
    assert json.loads(replies[1])["reason"] == "JSON_MALFORMED"
    np.testing.assert_allclose(
        np.frombuffer(replies[2][1:], "<f4").reshape(2, 2),
        expected_probabilities([[1.0] * 6, [0.0] * 6]),
        atol=1e-6,
    )
    assert replies[3].startswith(b"\1OUT_OF_RANGE: image: 9 at [0,0]")
    assert json.loads(replies[4])["reason"] == "CONTENT_TYPE_NOT_ACCEPTED"


def test_a_batch_of_refused_rows_runs_nothing(tiny: Handler) -> None:
    tiny.module = recorded = Recorded(tiny.module)
    tiny.handle([{"body": b"{"}, {"body": b"["}], FakeContext(Path(), [JSON, JSON]))
    assert recorded.batch_sizes == []


def test_more_than_the_largest_batch_is_split_and_rejoined_in_order(tiny: Handler) -> None:
    tiny.module = recorded = Recorded(tiny.module)
    rows = np.linspace(0, 1, 10 * 6, dtype=np.float32).reshape(10, 6)
    reply = over_gateway(tiny, gateway_row(rows, (10, 6)))
    assert recorded.batch_sizes == [4, 4, 2]
    answered = np.frombuffer(reply[1:], "<f4").reshape(10, 2)
    np.testing.assert_allclose(answered, expected_probabilities(rows), atol=1e-6)
