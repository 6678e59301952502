"""Train, serve and ask over every path; the paths must agree, and the metrics must count right."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from examples.demo.agreement import Disagreement, check_agreement, check_request_count, show_answers
from examples.demo.command import CommandFailed, run, start_gateway
from examples.demo.digits import PixelArray, draw, held_out_digits
from examples.demo.paths import (
    Answers,
    ask_own_api,
    ask_torchserve_over_http,
    ask_with_raw_tensors,
)

MODEL = "digit_mlp"


def main() -> int:
    """Run the demo; 0 when everything agrees."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--epochs", help="of training; by default as many as make a good model")
    epochs = parser.parse_args().epochs
    started = time.monotonic()
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="seqserve-demo-") as folder:
            train_and_ask(console, Path(folder) / "model-store", ["--epochs", epochs] if epochs else [])
    except (CommandFailed, Disagreement) as error:
        console.print(f"[red]the demo failed:[/] {error}")
        return 1
    console.print(f"All paths agree; done in {time.monotonic() - started:.0f} s.")
    return 0


def train_and_ask(console: Console, store: Path, training: Sequence[str]) -> None:
    """The main job. training: more options of the build. Raises CommandFailed, Disagreement."""
    run("build", MODEL, "--output", str(store), *training)
    digits = held_out_digits(5)
    draw(console, digits)
    answers = ask_every_path(console, store, digits.images)
    show_answers(console, answers, digits.labels)
    check_agreement(answers)


def ask_every_path(console: Console, store: Path, images: PixelArray) -> dict[str, Answers]:
    """The same digits over gRPC, over our own API, over TorchServe's HTTP, and through both."""
    answers = {}
    console.print("\nstarting the gateway with the embedded engine, and a TorchServe beside it …")
    with start_gateway(store, "--with-torchserve") as gateway:
        console.print(f"gRPC {gateway.grpc}, metrics {gateway.http}")
        console.print(f"TorchServe {gateway.torchserve}, its logs {gateway.logs}", soft_wrap=True)
        answers["(a) OIP, raw tensor"] = ask_with_raw_tensors(gateway, MODEL, images)
        answers["(b) own API, PNGs"] = ask_own_api(gateway, MODEL, images)
        answers["(c) TorchServe, JSON"] = ask_torchserve_over_http(gateway, MODEL, images)
        check_request_count(console, gateway, MODEL, sent=2)
    console.print("starting the gateway again, in front of TorchServe …")
    with start_gateway(store, "--engine", "torchserve") as gateway:
        console.print(f"gRPC {gateway.grpc}, metrics {gateway.http}")
        answers["(d) OIP to TorchServe"] = ask_with_raw_tensors(gateway, MODEL, images)
        check_request_count(console, gateway, MODEL, sent=1)
    return answers


if __name__ == "__main__":
    sys.exit(main())
