"""The load generator is started with what a load asks for; its figures and its replies are read and checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.generator import Generator, GeneratorFailed, Load, read_outcome
from bench.load import WrongAnswer
from bench.messages import Rows
from bench.store import MODEL
from bench.wires import Door, Form, http_raw, oip_doors
from seqserve.pb import inference_pb2

SAID = {
    "requests": 1010,
    "seconds": 0.5,
    "throughput": 2000.0,
    "codes": {
        "OK": {"count": 1000, "p50_us": 480.5, "p99_us": 900.0, "p999_us": 1000.0, "max_us": 1200.0},
        "UNAVAILABLE": {"count": 10, "p50_us": 50.0, "p99_us": 60.0, "p999_us": 60.0, "max_us": 60.0},
    },
    "unanswered": 3,
    "late_p99_us": 12.5,
    "cpu_share": 0.31,
    "grpc": "1.51.1",
}
ROWS = Rows("digit_mlp", np.zeros((1, 784), np.float32), np.full((1, 10), 0.1, np.float32))
PROGRAM = """#!{python} -SE
import sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
open({asked!r}, "w").write(repr(options))
for name, reply in (("--first-reply", {first!r}), ("--last-reply", {last!r})):
    open(options[name], "wb").write(reply)
print({said!r})
sys.exit({status})
"""


def reply(value: float) -> bytes:
    answer = inference_pb2.ModelInferResponse(model_name="digit_mlp")
    answer.outputs.add(name="probabilities", datatype="FP32", shape=[1, 10])
    answer.raw_output_contents.append(np.full(10, value, "<f4").tobytes())
    return answer.SerializeToString()


def on_stream(answer: bytes, error: str = "") -> bytes:
    infer_response = inference_pb2.ModelInferResponse.FromString(answer)
    message = inference_pb2.ModelStreamInferResponse(error_message=error, infer_response=infer_response)
    return message.SerializeToString()


def generator(folder: Path, first: bytes, last: bytes, status: int = 0) -> Generator:
    """A program that sends nothing: it notes its options and has its replies beforehand."""
    program = folder / "loadgen"
    parts = {"asked": str(folder / "asked"), "first": first, "last": last, "said": json.dumps(SAID)}
    program.write_text(PROGRAM.format(python=sys.executable, status=status, **parts))
    program.chmod(0o700)
    return Generator(program, folder, {(MODEL, 1): ROWS})


def door(form: Form = "raw") -> Door:
    return oip_doors("127.0.0.1:1", "127.0.0.1:2")[form]


def test_what_it_says_is_read() -> None:
    outcome = read_outcome(json.dumps(SAID))

    assert (outcome.requests, outcome.throughput, outcome.errors) == (1010, 2000.0, 10)
    assert (outcome.good.p50_us, outcome.good.p999_us) == (480.5, 1000.0)
    assert outcome.codes["UNAVAILABLE"].p99_us == 60.0
    assert (outcome.unanswered, outcome.late_p99_us, outcome.cpu_share) == (3, 12.5, 0.31)


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"codes": {"OK": {}}}', "Segmentation fault"])
def test_anything_else_is_refused(said: str) -> None:
    with pytest.raises(GeneratorFailed, match="not what the generator says"):
        read_outcome(said)


def test_an_open_loop_is_asked_for_by_its_rate(tmp_path: Path) -> None:
    load = Load("overload", rate=5000.0, deadline_seconds=2.0)

    outcome = generator(tmp_path, reply(0.1), reply(0.1)).run(door(), load, 0.5)

    asked = (tmp_path / "asked").read_text()
    assert outcome == read_outcome(json.dumps(SAID))
    for word in ("'--rate': '5000.0'", "'--in-flight': '0'", "'--deadline-seconds': '2.0'", "/ModelInfer'"):
        assert word in asked


def test_a_stream_is_asked_for_by_what_is_in_flight(tmp_path: Path) -> None:
    answer = on_stream(reply(0.1))

    generator(tmp_path, answer, answer).run(door("stream"), Load("stream", in_flight=16), 0.5)

    asked = (tmp_path / "asked").read_text()
    assert "'--in-flight': '16'" in asked
    assert "/ModelStreamInfer'" in asked


def test_json_goes_over_http_to_the_model(tmp_path: Path) -> None:
    answer = json.dumps({"outputs": [{"data": ROWS.outputs.ravel().tolist()}]}).encode()
    load = Load("JSON", written="json")

    generator(tmp_path, answer, answer).run(door(load.form), load, 0.5)

    asked = (tmp_path / "asked").read_text()
    for word in (
        "'--target': '127.0.0.1:2'",
        "'--path': '/v2/models/digit_mlp/infer'",
        "'--content-type': 'application/json'",
    ):
        assert word in asked
    assert "--method" not in asked


def test_bytes_go_over_http_as_they_are(tmp_path: Path) -> None:
    answer = ROWS.outputs.astype("<f4").tobytes()
    raw = Door("127.0.0.1:1", http_raw("/inference"))

    generator(tmp_path, answer, answer).run(raw, Load("1 caller"), 0.5)

    assert (tmp_path / "request").read_bytes() == ROWS.inputs.tobytes()
    assert "'--path': '/inference'" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("first", "last", "which"),
    [(reply(0.2), reply(0.1), "first"), (reply(0.1), reply(0.2), "last"), (reply(0.1), b"\xff", "last")],
)
def test_a_wrong_reply_before_or_after_is_found(
    tmp_path: Path, first: bytes, last: bytes, which: str
) -> None:
    with pytest.raises(WrongAnswer, match=f"1 caller, the {which} reply"):
        generator(tmp_path, first, last).run(door(), Load("1 caller"), 0.5)


def test_an_error_on_a_stream_is_no_answer(tmp_path: Path) -> None:
    answer = on_stream(reply(0.1), "the queue is full")

    with pytest.raises(WrongAnswer, match="the queue is full"):
        generator(tmp_path, answer, answer).run(door("stream"), Load("stream", in_flight=16), 0.5)


def test_a_generator_that_fails_counts_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(GeneratorFailed, match="1 caller: 1"):
        generator(tmp_path, reply(0.1), reply(0.1), status=1).run(door(), Load("1 caller"), 0.5)
