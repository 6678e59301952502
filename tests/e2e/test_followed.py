"""A running gateway follows its store and its configuration file, without a restart and without a break."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from seqserve.client import Client
from support.served import Served, serving

LIMIT_SECONDS = 60
VALUES = np.linspace(-1, 1, 5, dtype=np.float32)


def copy(built: Path, version: str, store: Path, *, as_version: str = "") -> None:
    """An archive and its hash, as `cp` brings them."""
    for suffix in (".mar", ".mar.sha256"):
        shutil.copy(built / f"line-{version}{suffix}", store / f"line-{as_version or version}{suffix}")


def until(condition: Callable[[], object], gateway: Served) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, gateway.log.read_text()
        time.sleep(0.02)


@contextmanager
def calling(gateway: Served) -> Iterator[list[str]]:
    """Callers who name no version, for the length of the block; which versions they met."""
    met: list[str] = []
    is_over = threading.Event()

    def call() -> None:
        with Client(gateway.grpc) as client:
            while not is_over.is_set():
                met.append(client.predict(VALUES, model="line").version)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield met
    finally:
        is_over.set()
        caller.join()


def test_versions_labels_and_the_log_level_change_while_it_serves(tmp_path: Path, two_lines: Path) -> None:
    store, config = tmp_path / "model-store", tmp_path / "seqserve.toml"
    store.mkdir()
    copy(two_lines, "1", store)
    config.write_text("watch_interval_seconds = 0.2\n[models.line]\nlabels = { stable = 1 }\n")
    with serving(tmp_path, store, f"--config={config}") as gateway, calling(gateway) as met:
        until(lambda: met, gateway)
        copy(two_lines, "2", store)
        until(lambda: gateway.events()["model ready"]["version"] == "2", gateway)
        with Client(gateway.grpc) as client:
            assert client.predict(VALUES, model="line", version="2").version == "2"
            assert client.predict(VALUES, model="line", version="stable").version == "1"

        config.write_text('log_level = "debug"\n[models.line]\nlabels = { stable = 2 }\n')
        until(lambda: met[-1] == "2", gateway)
        assert sorted(met) == met  # all of 1 before all of 2

        copy(two_lines, "2", store, as_version="3")  # version 2 inside, by another name
        until(lambda: "model refused" in gateway.events(), gateway)
        assert "its name is line-2.mar" in gateway.events()["model refused"]["reason"]
        config.write_text("log_level = 5\n")
        until(lambda: "configuration refused; the old one holds" in gateway.events(), gateway)
        page = httpx.get(f"{gateway.http}/metrics").text
    assert 'seqserve_reloads_total{model="line",result="refused"} 1.0' in page
    assert 'seqserve_model_label{label="stable",model="line",version="2"} 1.0' in page
    assert "these settings need a restart" in gateway.events()  # watch_interval_seconds had gone
    assert met[-1] == "2"
