"""Interpreters as fresh as those that a build starts, without the two seconds in which each imports torch.

One interpreter imports numpy and torch and nothing else, and is forked for each step of a build. So a step
begins with the modules, the counters and the hash seed of a new one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

FORKING = """
import gc, json, os, runpy, sys, traceback
import numpy, torch

def run(first, *others):
    if first == "-c":
        sys.argv = ["-c", *others[1:]]
        exec(others[0], {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = list(others)
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *others]
        runpy.run_path(first, run_name="__main__")

gc.freeze()
for line in sys.stdin:
    folder, variables, told, arguments = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    try:
        run(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # without half a second of tidying up
"""
HASH_SEED = "0"
"""A build's own choice, which only a program's start can make."""


class ForkedInterpreters:
    """Stands for the module `subprocess` where a build starts interpreters."""

    CalledProcessError = subprocess.CalledProcessError
    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, forking: subprocess.Popen[str], told: Path) -> None:
        """told: a file for what an interpreter says."""
        self._forking = forking
        self._told = told

    def run(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], **options: Any) -> None:
        """`python -P …` to its end. Raises CalledProcessError."""
        _, no_folder, *arguments = command
        assert no_folder == "-P"
        order, answer = self._forking.stdin, self._forking.stdout
        assert order is not None
        assert answer is not None
        order.write(json.dumps([str(cwd), dict(env), str(self._told), arguments]) + "\n")
        order.flush()
        status = int(answer.readline())
        if status:
            raise subprocess.CalledProcessError(status, command, stderr=self._told.read_text())


@contextmanager
def forked_interpreters(folder: Path) -> Iterator[None]:
    """For the length of the block, builds of this process take forks for fresh interpreters."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    variables = os.environ | {"PYTHONHASHSEED": HASH_SEED}
    with (
        subprocess.Popen([sys.executable, "-P", "-c", FORKING], env=variables, **pipes) as forking,
        mock.patch("seqserve_models.interpreter.subprocess", ForkedInterpreters(forking, folder / "told")),
    ):
        yield
