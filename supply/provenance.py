"""`make provenance`: builds a release, and says what it was built from and with.

An in-toto statement (https://in-toto.io/Statement/v1) with SLSA's predicate
(https://slsa.dev/spec/v1.0/provenance). Whoever builds on a machine of their own vouches for themselves: that
is SLSA's build level 1, and a signature adds who says so.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqserve_models.attestation import attestation
from seqserve_models.errors import BuildError
from seqserve_models.signing_keys import SigningKey, read_signing_key
from supply.builds import Commit, NotBuilt, build_reproducibly, clean_commit, installed_backend, sha256
from supply.pins import Pin, read_pins
from supply.sbom import purl, to_text

ROOT = Path(__file__).parents[1]
LOCK = "requirements.lock"
SBOM = "seqserve.cdx.json"
PROVENANCE = "provenance.json"
ENVELOPE = "provenance.json.sig"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:seqserve:build:v1"
"""`python -m build` on the files of a commit, with the lock's backend and the commit's SOURCE_DATE_EPOCH."""
BUILDER = "urn:seqserve:builder:own-machine"

Json = dict[str, Any]


def provenance(packages: Mapping[str, bytes], commit: Commit, built_from: Sequence[Json], run: Json) -> Json:
    """The statement. built_from: SLSA's resolvedDependencies. run: SLSA's runDetails."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_described(name, packages[name]) for name in sorted(packages)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"commit": commit.id},
                "internalParameters": {
                    "SOURCE_DATE_EPOCH": commit.seconds,
                    "python": platform.python_version(),
                },
                "resolvedDependencies": list(built_from),
            },
            "runDetails": run,
        },
    }


def release(root: Path, folder: Path, builder: str, key: SigningKey | None) -> list[str]:
    """Build into the folder that holds the SBOM; the names of the files written. Raises NotBuilt, OSError."""
    commit = clean_commit(root)
    lock = root / LOCK
    backend = installed_backend(read_pins(lock))
    packages = build_reproducibly(root, commit)
    built_from = [
        {"name": "source", "digest": {"gitCommit": commit.id}},
        _described(LOCK, lock.read_bytes()),
        *(_package(pin) for pin in backend),
    ]
    run = {"builder": {"id": builder}, "byproducts": [_described(SBOM, (folder / SBOM).read_bytes())]}
    said = to_text(provenance(packages, commit, built_from, run)).encode()
    files = {**packages, PROVENANCE: said}
    if key is not None:
        files[ENVELOPE] = attestation(said, key)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if key is None:
        (folder / ENVELOPE).unlink(missing_ok=True)
    return list(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where there is no release, after saying why."""
    parser = argparse.ArgumentParser(prog="python -m supply.provenance", description=__doc__)
    parser.add_argument("folder", type=Path, help=f"with {SBOM}")
    parser.add_argument("--signing-key", type=Path, help="a file of `seqserve keys new`")
    parser.add_argument("--builder", default=BUILDER, help="URI of whoever builds")
    given = parser.parse_args(arguments)
    try:
        key = read_signing_key(given.signing_key) if given.signing_key else None
        written = release(ROOT, given.folder, given.builder, key)
    except (NotBuilt, BuildError, OSError, ValueError) as error:
        print(f"provenance: {error}", file=sys.stderr)
        return 1
    print(f"{given.folder}: {', '.join(written)}")
    return 0


def _described(name: str, content: bytes) -> Json:
    return {"name": name, "digest": {"sha256": sha256(content)}}


def _package(pin: Pin) -> Json:
    """Which of a release's files pip has taken depends on the machine, so none is the digest."""
    return {"uri": purl(pin.name, pin.version), "annotations": {"sha256OfItsFiles": list(pin.sha256)}}


if __name__ == "__main__":
    sys.exit(main())
