"""Writes the table of docs/reliability.md from what pytest has just run: `reliability.py REPORT … DOCUMENT`.

REPORT: JUnit's XML; more of them count together. What a test records with `record_property` is a figure.
`reliability.py` alone prints the files to run.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from support.junit import Case, cases

TABLE = re.compile(r"(<!-- table: [^>]*-->\n).*?(<!-- end of table -->)", re.DOTALL)
TESTS = Path(__file__).parents[1]


class Promise(NamedTuple):
    """What is promised, in words, and the tests that try it: FOLDER/MODULE, or FOLDER/MODULE::START-OF-A-NAME."""

    words: str
    tests: tuple[str, ...]


PROMISES = (
    Promise(
        "SIGTERM: none of 64 calls in flight is lost, health says NOT_SERVING first, new calls are UNAVAILABLE, exit status 0",
        ("reliability/test_endings::test_sigterm",),
    ),
    Promise(
        "kill -9 of a gateway under load: UNAVAILABLE and nothing else, and the next one serves",
        ("reliability/test_endings::test_kill_9",),
    ),
    Promise(
        "kill -9 of TorchServe or its worker under load: UNAVAILABLE for those in flight, and it comes back",
        (
            "e2e/test_torchserve_faults",
            "e2e/test_torchserve_outages",
        ),
    ),
    Promise(
        "100 versions come and go under load, broken archives among them: no call fails, each answer is wholly of one version",
        ("reliability/test_reloads",),
    ),
    Promise(
        "a queue of N serves N, and refuses the rest at once",
        ("reliability/test_overload::test_a_queue_of_n",),
    ),
    Promise(
        "beyond its peak a gateway refuses as documented, answers probes within seconds, and what it answers is right",
        ("reliability/test_overload::test_an_open_loop",),
    ),
    Promise(
        "where every call fails our client's tries add 50 in all, which is less than a tenth of 600 calls",
        ("reliability/test_hung_engine::test_tries",),
    ),
    Promise(
        "a call that is cancelled or expires before its batch is sealed never reaches the model",
        ("reliability/test_overload::test_who_is_cancelled",),
    ),
    Promise(
        "a batch that hangs costs its own callers and no others",
        (
            "reliability/test_hung_engine::test_others",
            "reliability/test_hung_engine::test_probes",
            "e2e/test_torchserve_faults::test_a_worker_that_hangs",
        ),
    ),
    Promise(
        "the wall clock may jump",
        ("reliability/test_clocks",),
    ),
    Promise(
        "full disks, file systems that cannot be written and logs that nobody reads stop nobody",
        (
            "reliability/test_disks",
            "reliability/test_log_readers",
            "e2e/test_torchserve_outages::test_an_archive_that_finds_no_room",
            "e2e/test_torchserve_outages::test_logs_that_find_no_room",
        ),
    ),
    Promise(
        "without files to open, the connected are served, and what waited is done later",
        ("reliability/test_descriptors",),
    ),
    Promise(
        "a picture that finds no memory is RESOURCE_EXHAUSTED (429), and neighbours with small requests are answered rightly",
        ("reliability/test_memory_limit::test_a_picture",),
    ),
    Promise(
        "where not even a message finds memory, which may end the process, no answer is wrong and nothing hangs",
        ("reliability/test_memory_limit::test_where_nothing",),
    ),
    Promise(
        "a peer that reads nothing, does nothing or sends garbage costs the others nothing",
        ("reliability/test_peers",),
    ),
    Promise(
        "a slow, narrow, lossy, silent, reset or cut network: right answers or an honest status, and all is well again after it",
        ("reliability/test_network_faults",),
    ),
    Promise(
        "bad input gets its documented code, and neighbours their answers",
        (
            "contract/test_gateway_decoding",
            "integration/test_refusals",
            "integration/test_hostile_shapes",
        ),
    ),
    Promise(
        "whatever bytes come, on the port or to what reads them, the others are answered rightly",
        (
            "reliability/test_fuzz_fronts",
            "reliability/test_fuzz_targets",
        ),
    ),
    Promise(
        "memory, descriptors, threads and tasks stay level, and a leak is found",
        ("reliability/test_soak",),
    ),
)


def files() -> list[str]:
    """Of all promises, each once, as pytest takes them."""
    named = dict.fromkeys(test.partition("::")[0] for promise in PROMISES for test in promise.tests)
    return [f"tests/{name}.py" for name in named]


def table(found: Sequence[Case]) -> str:
    """A row for each test of each promise, under a line that says where and when."""
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    head = f"Run on {datetime.now(UTC):%Y-%m-%d} with seqserve {version('seqserve')}, {where}.\n"
    rows = [row for promise in PROMISES for row in _rows(promise, found)]
    return "\n".join([head, "| promise | test | result | measured |", "|---|---|---|---|", *rows, ""])


def _rows(promise: Promise, found: Sequence[Case]) -> list[str]:
    rows = []
    for at, test in enumerate(promise.tests):
        module, _, start = test.partition("::")
        mine = [case for case in found if case.module == Path(module).name and case.name.startswith(start)]
        cells = [promise.words if at == 0 else "", f"`{test}`", _result(mine), _measured(mine)]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _result(mine: Sequence[Case]) -> str:
    counts = Counter(case.kind for case in mine)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "**not run**"


def _measured(mine: Sequence[Case]) -> str:
    parts = [f"{case.parameters}: {_figures(case)}" for case in mine if case.properties]
    return "; ".join(parts)


def _figures(case: Case) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_rounded(value)}" for name, value in case.properties.items())


def _rounded(value: str) -> str:
    """Decimals to three digits; what is no number as it is, without Python's quotes and braces."""
    try:
        return f"{float(value):.3g}" if "." in value else f"{int(value):,}"
    except ValueError:
        return re.sub(r"[{}']", "", value)


def main(*paths: str) -> None:
    """Put the table where the document, the last of the paths, has its marks."""
    *reports, path = map(Path, paths)
    text, found = path.read_text(), [case for report in reports for case in cases(report)]
    if not TABLE.search(text):
        sys.exit(f"no marks in {path}")
    path.write_text(TABLE.sub(lambda marks: f"{marks[1]}\n{table(found)}\n{marks[2]}", text))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(*files())  # noqa: T201 - for make
    else:
        main(*sys.argv[1:])
