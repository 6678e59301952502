"""REST by schemathesis, from our own /openapi.json, against a real gateway."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fuzz.attacked import errors_logged
from fuzz.run import Say
from seqserve.access.tokens import new_token
from support.access import hash_of
from support.served import Served, serving
from support.truth import MODEL, put_version

SEED = 20
CALL_SECONDS = 60
CONFIG = """
[checks]
# What answers when a model is not ready, and documented where it may; any other 5xx is a fault.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
"""
OF_ONE_MODEL = f"""
[parameters]
"path.model" = "{MODEL}"
"path.version" = "1"

[[operations]]
include-path-regex = "/infer$"
# What a model takes stands in its metadata, not in this document.
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path-regex = "/unload$"
# Or there would be no model for the others.
enabled = false
"""
CLIENT = """
[clients.tester]
token_sha256 = ["{hash}"]
scopes = ["inference", "admin", "metrics"]
"""


@dataclass(frozen=True)
class Checked:
    """What schemathesis said. has_failed: it found something, or the gateway logged an error of its own."""

    words: str
    has_failed: bool

    @property
    def summary(self) -> str:
        """How many requests it made."""
        return "; ".join(re.findall(r"^ *([0-9]+ generated.*)$", self.words, re.MULTILINE))

    @property
    def requests(self) -> str:
        """Their number alone."""
        made = sum(int(count) for count in re.findall(r"^ *([0-9]+) generated", self.words, re.MULTILINE))
        return f"{made:,} requests"


def check_schema(schemathesis: Path, examples: int, say: Say) -> Checked:
    """All checks, of each operation so many examples for any model and for one that is there.

    schemathesis: the program.
    """
    token = new_token()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _gateway(folder, token) as gateway:
            ended = []
            for config in (CONFIG, CONFIG + OF_ONE_MODEL):
                (folder / "schemathesis.toml").write_text(config)
                command = [
                    str(schemathesis),
                    "run",
                    f"{gateway.http}/openapi.json",
                    *_options(examples, token),
                ]
                ended.append(subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder))
                say(ended[-1].stdout.strip().rpartition("\n")[2].strip("= "))
            faults = errors_logged(gateway)
    words = "\n".join([*(each.stdout + each.stderr for each in ended), *faults])
    return Checked(words, any(each.returncode for each in ended) or bool(faults))


@contextmanager
def _gateway(folder: Path, token: str) -> Iterator[Served]:
    store, config = folder / "store", folder / "seqserve.toml"
    store.mkdir()
    put_version(store, "1")
    config.write_text(CLIENT.format(hash=hash_of(token)))
    config.chmod(0o600)
    with serving(folder, store, "--admin-on-inference-port", f"--config={config}") as gateway:
        yield gateway


def _options(examples: int, token: str) -> list[str]:
    return [
        f"--header=Authorization: Bearer {token}",
        f"--max-examples={examples}",
        f"--seed={SEED}",
        f"--request-timeout={CALL_SECONDS}",
        "--generation-database=none",
        "--no-color",
    ]
