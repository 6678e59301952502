"""Whether the archives' handlers can be imported, each in a fresh Python as TorchServe's workers are."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from seqserve.doctor.contents import HANDLER, StoreContents
from seqserve.doctor.finding import Finding, fault, not_used, or_ok
from seqserve.engines.torchserve.config import Layout, Programs, TorchServeSettings, environment
from seqserve.engines.torchserve.server import find_programs
from seqserve.errors import DependencyMissing

CHECK = "handlers"
IMPORT_SECONDS = 120.0
IMPORT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("handler", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
if not callable(getattr(module, "handle", None)):
    sys.exit("it has no function `handle`")
"""


def import_handler(content: bytes) -> str:
    """Import a handler in a private folder; what went wrong, in one line, or "" where nothing did.

    Raises DependencyMissing where the packages for TorchServe are not there.
    """
    programs = find_programs()
    with tempfile.TemporaryDirectory(prefix="seqserve-doctor-") as folder:
        layout = Layout(Path(folder))
        layout.temporary.mkdir()
        (layout.folder / HANDLER).write_bytes(content)
        command = [str(programs.python), "-P", "-c", IMPORT, str(layout.folder / HANDLER)]
        return _fault_of(command, layout, _worker_environment(programs, layout))


def check_handlers(
    contents: StoreContents, import_one: Callable[[bytes], str] = import_handler
) -> list[Finding]:
    """Each distinct handler once."""
    users: dict[bytes, list[str]] = defaultdict(list)
    for archive in contents.sound:
        users[archive.handler].append(archive.path.name)
    if not users:
        return [not_used(CHECK, "the store has no sound archive")]
    try:
        faults = {content: import_one(content) for content in users}
    except DependencyMissing:
        return [not_used(CHECK, "they can be imported once the packages are installed")]
    findings = [_broken(users[content], words) for content, words in faults.items() if words]
    return or_ok(findings, CHECK, f"imported: {len(users)}, of {len(contents.sound)} archives")


def _broken(archives: Sequence[str], words: str) -> Finding:
    advice = "Install what it misses, or build these archives again with a handler that can be imported."
    return fault(CHECK, f"{HANDLER} of {', '.join(archives)} cannot be imported: {words}", advice)


def _worker_environment(programs: Programs, layout: Layout) -> Mapping[str, str]:
    return environment(programs, layout, TorchServeSettings(), os.environ)


def _fault_of(command: Sequence[str], layout: Layout, variables: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and code of a verified archive, as TorchServe runs it
            command, cwd=layout.folder, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=IMPORT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"it is not over after {IMPORT_SECONDS:.0f} s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"Python ended with {done.returncode}"
