"""A release of a small project: the same bytes each time, described, signed and held against what it says."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from seqserve_models.attestation import attestation, statement
from seqserve_models.signing_keys import make_key, read_signing_key
from supply.builds import NotBuilt, clean_commit, installed_backend, sha256
from supply.pins import Pin
from supply.provenance import BUILDER, ENVELOPE, LOCK, PROVENANCE, SBOM, release
from supply.verify import NotVerified, main, read_key, verify

ROOT = Path(__file__).parents[2]
WHEEL, SDIST = "small-1-py3-none-any.whl", "small-1.tar.gz"
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "small"
version = "1"
requires-python = ">=3.11"
[tool.hatch.build.targets.wheel]
packages = ["small"]
"""

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(root: Path, *arguments: str) -> None:
    who = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    subprocess.run(["git", *arguments], cwd=root, env={**os.environ, **who}, check=True, capture_output=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One commit of it, and files beside it that are ignored."""
    root = tmp_path_factory.mktemp("project")
    (root / "small").mkdir()
    (root / "small" / "__init__.py").write_text("ONE = 1\n")
    (root / "pyproject.toml").write_text(PROJECT)
    (root / ".gitignore").write_text("*.key\n")
    (root / LOCK).write_bytes((ROOT / LOCK).read_bytes())
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--no-gpg-sign", "--message", "first")
    (root / "small" / "secret.key").write_text("secret")
    return root


@pytest.fixture(scope="module")
def released(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a signed release, and the builder's public key."""
    folder, keys = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("keys")
    (folder / SBOM).write_text("{}")
    made = make_key("builder", keys)
    written = release(project, folder, BUILDER, read_signing_key(keys / "builder.key"))
    assert sorted(written) == sorted([WHEEL, SDIST, PROVENANCE, ENVELOPE])
    assert made.key_id
    return folder, keys / "builder.pub"


@pytest.fixture
def copy(released: tuple[Path, Path], tmp_path: Path) -> Path:
    """The release's folder, to be tampered with."""
    return Path(shutil.copytree(released[0], tmp_path / "copy"))


def test_it_says_what_was_built_from_what(project: Path, released: tuple[Path, Path]) -> None:
    folder, _ = released
    commit = clean_commit(project)
    said: dict[str, Any] = json.loads((folder / PROVENANCE).read_text())
    built_from = said["predicate"]["buildDefinition"]["resolvedDependencies"]

    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert said["subject"] == [
        {"name": name, "digest": {"sha256": sha256((folder / name).read_bytes())}} for name in (WHEEL, SDIST)
    ]
    assert built_from[0] == {"name": "source", "digest": {"gitCommit": commit.id}}
    assert built_from[1] == {"name": LOCK, "digest": {"sha256": sha256((project / LOCK).read_bytes())}}
    assert any(one.get("uri", "").startswith("pkg:pypi/hatchling@") for one in built_from)
    assert said["predicate"]["runDetails"] == {
        "builder": {"id": BUILDER},
        "byproducts": [{"name": SBOM, "digest": {"sha256": sha256(b"{}")}}],
    }


def test_a_change_that_is_not_committed_is_refused(project: Path) -> None:
    stray = project / "small" / "stray.py"
    stray.write_text("TWO = 2\n")
    try:
        with pytest.raises(NotBuilt, match=r"small/stray\.py"):
            clean_commit(project)
    finally:
        stray.unlink()


def test_a_backend_that_is_not_the_locks_is_refused() -> None:
    locked = {"build": Pin("build", "0.0.1"), "hatchling": Pin("hatchling", "0.0.1")}

    with pytest.raises(NotBuilt, match=r"^build: .* is installed, the lock has 0\.0\.1$"):
        installed_backend(locked)


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotBuilt, match="git"):
        clean_commit(tmp_path)


def test_the_release_is_verified_with_the_builders_key(
    released: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, key = released

    assert main([str(folder), "--key", str(key)]) == 0
    files = ", ".join(sorted([PROVENANCE, SBOM, WHEEL, SDIST]))
    commit = json.loads((folder / PROVENANCE).read_text())["predicate"]["buildDefinition"]
    assert capsys.readouterr().out == (
        f"verified: {files}; commit {commit['externalParameters']['commit']}\n"
    )


@pytest.mark.parametrize("name", [WHEEL, SDIST, SBOM, PROVENANCE])
def test_a_file_that_was_changed_is_found(released: tuple[Path, Path], copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")

    with pytest.raises(NotVerified, match=f"^{name} is not what was built"):
        verify(copy, read_key(released[1]))


def test_a_file_that_nobody_has_built_is_found(released: tuple[Path, Path], copy: Path) -> None:
    (copy / "small-2-py3-none-any.whl").write_bytes(b"mine")

    with pytest.raises(NotVerified, match=r"^small-2-py3-none-any\.whl is not named by provenance\.json"):
        verify(copy, read_key(released[1]))


def test_a_link_to_what_was_built_is_found(released: tuple[Path, Path], copy: Path) -> None:
    (copy / WHEEL).unlink()
    (copy / WHEEL).symlink_to(released[0] / WHEEL)

    with pytest.raises(OSError, match="it is a link"):
        verify(copy, read_key(released[1]))


def test_a_statement_that_was_changed_is_found(released: tuple[Path, Path], copy: Path) -> None:
    envelope = json.loads((copy / ENVELOPE).read_text())
    statement = base64.b64decode(envelope["payload"]).replace(
        BUILDER.encode(), b"urn:seqserve:builder:trusted"
    )
    envelope["payload"] = base64.b64encode(statement).decode()
    (copy / ENVELOPE).write_text(json.dumps(envelope))

    with pytest.raises(NotVerified, match="no signature is of this key"):
        verify(copy, read_key(released[1]))


def test_another_key_verifies_nothing(
    released: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_key("other", tmp_path)

    assert main([str(released[0]), "--key", str(tmp_path / "other.pub")]) == 1
    assert "no signature is of this key" in capsys.readouterr().err


def test_an_archives_attestation_is_no_provenance(
    released: tuple[Path, Path], copy: Path, tmp_path: Path
) -> None:
    make_key("builder", tmp_path)
    envelope = attestation(statement("m", "1", "0" * 64), read_signing_key(tmp_path / "builder.key"))
    (copy / ENVELOPE).write_bytes(envelope)

    with pytest.raises(NotVerified, match="signs something else"):
        verify(copy, read_key(tmp_path / "builder.pub"))


def test_another_release_has_the_same_bytes_and_keeps_no_old_signature(
    project: Path, released: tuple[Path, Path], copy: Path
) -> None:
    written = release(project, copy, BUILDER, None)

    assert sorted(written) == sorted([WHEEL, SDIST, PROVENANCE])
    assert all((copy / name).read_bytes() == (released[0] / name).read_bytes() for name in written)
    assert not (copy / ENVELOPE).exists()


def test_what_git_ignores_gets_into_no_package(released: tuple[Path, Path]) -> None:
    folder, _ = released

    with zipfile.ZipFile(folder / WHEEL) as wheel, tarfile.open(folder / SDIST) as sdist:
        names = [*wheel.namelist(), *sdist.getnames()]

    assert "small/__init__.py" in names
    assert not any(name.endswith(".key") for name in names)
