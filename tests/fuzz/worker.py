"""One target under atheris, in a process of its own: `python -m fuzz.worker NAME FOLDER [libFuzzer's options]`.

FOLDER: where atheris is installed, which is not the product's environment. libFuzzer ends the process
at the first crash, hang or excess of memory, and leaves the input.
"""

from __future__ import annotations

import importlib
import sys
from random import Random

INSTRUMENTED = ["seqserve", "seqserve_models"]
NOT_INSTRUMENTED = ["seqserve.pb"]
OWN_MUTATIONS = 0.5
"""How often a target's own mutations take the place of libFuzzer's."""


def main(name: str, folder: str, *options: str) -> None:
    """Never returns: libFuzzer ends the process."""
    sys.path.append(folder)
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED, exclude=NOT_INSTRUMENTED):
        targets = importlib.import_module("fuzz.targets")
    target = targets.TARGETS[name]

    def mutated(data: bytes, max_bytes: int, seed: int) -> bytes:
        random = Random(seed)
        if target.mutate is not None and random.random() < OWN_MUTATIONS:
            own: bytes = target.mutate(data, random)
            return own[:max_bytes]
        changed: bytes = atheris.Mutate(data, max_bytes)
        return changed

    def check(data: bytes) -> None:
        try:
            target.check(data)
        except BaseException:
            path = target.crash_path(data)  # libFuzzer has no hand in this without a sanitizer
            path.write_bytes(data)
            print(f"saved {path}", file=sys.stderr)  # noqa: T201 - as libFuzzer does
            raise

    custom = {"custom_mutator": mutated} if target.mutate else {}
    again = f"{sys.executable} -m fuzz.worker {name} {folder}"  # libFuzzer gives it to a shell when it merges
    atheris.Setup([again, *options], check, **custom)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
