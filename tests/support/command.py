"""The command line in this process: what `seqserve` prints and its exit status, without starting Python."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from seqserve.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    status: int
    output: str
    errors: str

    @property
    def one_line(self) -> str:
        """What it said on standard error, which must be one line of its own and nothing else."""
        assert self.errors.startswith("seqserve: "), self
        assert self.errors.count("\n") == 1, self
        return self.errors.strip()


def seqserve(*arguments: str) -> Ended:
    """Run the command as the console script does."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["seqserve", *arguments]),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as left:
            status = left.code
    assert isinstance(status, int)
    return Ended(status, output.getvalue(), errors.getvalue())
