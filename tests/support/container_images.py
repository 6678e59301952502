"""The Dockerfile's targets, built: on a base of this machine's Debian, with this machine's way to packages."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.container_engine import Engine, NotHere

ROOT = Path(__file__).parents[2]
TAGS = {
    "gateway": "seqserve:0.1.0",
    "gateway-slim": "seqserve:0.1.0-slim",
    "torchserve": "seqserve:0.1.0-torchserve",
    "build": "seqserve:0.1.0-build",
}
BASE = "localhost/bookworm-slim"
MIRROR = "http://deb.debian.org/debian"
SOURCES = f"""\
deb {MIRROR} bookworm main
deb {MIRROR} bookworm-updates main
deb {MIRROR}-security bookworm-security main
"""
# As Debian's own slim images leave them out.
SLIM = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""
LEFT_OUT = (
    "usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt/archives", "var/lib/apt/lists", "var/log",
)  # fmt: skip
CERTIFICATES, WHEELS = "/mnt", "/media"  # folders that are empty in every Debian
BUILD_SECONDS = 3600


def name_of(target: str) -> str:
    """What an image of the tests is called."""
    return f"localhost/{TAGS[target]}"


def make_base(engine: Engine, folder: Path) -> None:
    """Debian's smallest system as the image BASE, by debootstrap; its files are kept in a folder. Raises NotHere."""
    files = folder / "bookworm"
    if not (files / "etc/apt/sources.list").is_file() or not (files / ".complete").exists():
        shutil.rmtree(files, ignore_errors=True)
        _debootstrap(files)
        (files / ".complete").touch()
    container = engine.ask("buildah", "from", "scratch")
    engine.run("buildah", "add", "--quiet", container, files, "/")
    engine.run("buildah", "commit", "--quiet", "--timestamp", "0", "--rm", container, BASE)


def build(engine: Engine, target: str, log: Path) -> None:
    """Build one target. What buildah says goes to a file, and the time that it took to standard output."""
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with pip_settings(log.parent) as (settings, mounts):
        engine.run(
            # Docker's format would record random names of working containers, and have no digest that is the same
            # twice.
            "buildah", "bud", "--format", "oci", "--layers", "--timestamp", "0",
            "--build-arg", f"BASE={BASE}", "--build-arg", "TORCH_INDEX=",
            "--secret", f"id=pip,src={settings}", *(f"--volume={mount}" for mount in mounts),
            "--target", target, "--tag", name_of(target), "--file", ROOT / "Dockerfile", ROOT,
            timeout_seconds=BUILD_SECONDS, output=log,
        )  # fmt: skip
    say(f"{target}: built in {time.monotonic() - started:.0f} s, {size_megabytes(engine, target):.0f} MB")


@contextmanager
def pip_settings(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """What this machine's pip is told as a pip.conf, and what has to be mounted for it.

    Those settings never become part of an image: the file is a secret of the build. An index's URL may hold a password:
    only our own user can read the file, and it is gone at the end of the block.
    """
    with tempfile.TemporaryDirectory(prefix="pip-", dir=folder) as name:  # 0700
        own = Path(name)
        mounts = _write_pip_settings(own)
        yield own / "pip.conf", mounts


def _write_pip_settings(folder: Path) -> list[str]:
    given = _pip_settings()
    mounts = []
    if certificates := given.get("cert"):
        shutil.copy(certificates, folder / "ca.crt")
        mounts.append(f"{folder}:{CERTIFICATES}:ro")
        given["cert"] = f"{CERTIFICATES}/ca.crt"
    wheels = Path(given.get("find-links", ""))
    if wheels.is_absolute() and wheels.is_dir():
        mounts.append(f"{wheels}:{WHEELS}:ro")
        given["find-links"] = WHEELS
    else:
        given.pop("find-links", None)
    file = configparser.ConfigParser(interpolation=None)
    file["global"] = given
    descriptor = os.open(folder / "pip.conf", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        file.write(stream)
    return mounts


def health_check() -> list[str]:
    """The command of the Dockerfile's HEALTHCHECK: images in OCI's format do not carry it."""
    found = re.search(
        r"^HEALTHCHECK [^\[]*CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    command: list[str] = json.loads(found[1].partition("]")[0] + "]")
    return command


def size_megabytes(engine: Engine, target: str) -> float:
    """Of all layers, uncompressed."""
    return float(inspected(engine, target)["Size"]) / 1e6


def inspected(engine: Engine, target: str) -> dict[str, Any]:
    """What podman knows of an image."""
    found: list[dict[str, Any]] = json.loads(engine.ask("podman", "image", "inspect", name_of(target)))
    return found[0]


@dataclass(frozen=True)
class Images:
    """Builds each target when it is first asked for. folder: gets the logs."""

    engine: Engine
    folder: Path
    built: set[str]

    def name_of(self, target: str) -> str:
        """A built target's name."""
        if target not in self.built:
            say(f"{target}: being built, {self.folder / target}.log")
            build(self.engine, target, self.folder / f"{target}.log")
            self.built.add(target)
        return name_of(target)


def say(words: str) -> None:
    """Past pytest's capture: what follows takes minutes."""
    print(words, file=sys.__stderr__, flush=True)


def _debootstrap(files: Path) -> None:
    say("base: being made by debootstrap")
    files.parent.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", "bookworm", str(files), MIRROR]
    made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=BUILD_SECONDS)
    if made.returncode:
        raise NotHere(f"debootstrap makes no base here: {made.stdout.strip()[-500:]}")
    (files / "etc/apt/sources.list").write_text(SOURCES)
    (files / "etc/dpkg/dpkg.cfg.d/slim").write_text(SLIM)
    for left_out in LEFT_OUT:
        for path in (files / left_out).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _pip_settings() -> dict[str, str]:
    """Of pip's global settings and variables, those about where packages come from."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    wanted = ("cert", "default-timeout", "find-links", "index-url", "proxy", "trusted-host")
    found: Mapping[str, str] = {
        key.rpartition(".")[2]: value.strip("'\"")
        for key, _, value in (line.partition("=") for line in listed.splitlines())
    }
    return {key: value for key, value in found.items() if key in wanted}
