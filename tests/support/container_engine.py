"""buildah, podman and runc without a daemon, in a mount namespace and a storage of their own."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("buildah", "podman", "runc", "conmon", "catatonit", "tini", "uidmap", "debootstrap", "util-linux")
PROGRAMS = ("buildah", "podman", "runc", "conmon", "catatonit", "debootstrap", "unshare", "nsenter")
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
LIMIT = 16384
"""Of files and processes: podman's own are more than a root without CAP_SYS_RESOURCE may set."""
# crun and runc take cgroups of version 1 or 2, not both at once.
ENTER = "umount /sys/fs/cgroup/unified 2>/dev/null; echo ready; read -r _ || true"
INSTALL_SECONDS = 600
OS_RELEASE = Path("/etc/os-release")


class NotHere(Exception):
    """Images cannot be built or run on this machine; its words say what is missing."""


@dataclass(frozen=True)
class Engine:
    """Where images are built and run.

    namespace: id of a process in the mount namespace. folder: holds the storage of images and containers.
    """

    namespace: int
    folder: Path

    def run(
        self,
        *command: str | Path,
        timeout_seconds: float = 600,
        check: bool = True,
        output: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A command to its end, with what it said; output: a file that gets that instead.

        Raises CalledProcessError where it fails and should not.
        """
        with (output or Path(os.devnull)).open("wb") as file:
            ended = subprocess.run(
                self._entering(*command), check=False, text=True, timeout=timeout_seconds, env=self._environment(),
                **(_into(file.fileno()) if output else {"capture_output": True}),
            )  # fmt: skip
        if check and ended.returncode:
            said = output.read_text(errors="replace") if output else f"{ended.stdout}{ended.stderr}"
            raise AssertionError(f"{' '.join(map(str, command))}: {ended.returncode}\n{said[-8000:]}")
        return ended

    def ask(self, *command: str | Path, timeout_seconds: float = 600) -> str:
        """What a command prints."""
        return self.run(*command, timeout_seconds=timeout_seconds).stdout.strip()

    def _entering(self, *command: str | Path) -> list[str]:
        mounts = f"--mount=/proc/{self.namespace}/ns/mnt"
        return ["nsenter", mounts, f"--wd={Path.cwd()}", *map(str, command)]

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            # nsenter opens the folder outside of the mount namespace: inside, Go finds its name here and only here.
            "PWD": str(Path.cwd()),
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """An engine over the storage in a folder, which stays. Raises NotHere."""
    _require_programs()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(_containers_conf())
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    with _mount_namespace() as namespace:
        engine = Engine(namespace, folder)
        tried = engine.run("podman", "info", check=False)
        if tried.returncode:
            raise NotHere(f"podman does not work here: {tried.stderr.strip()[-500:]}")
        yield engine


def _containers_conf() -> str:
    files, processes = (
        LIMIT if hard == resource.RLIM_INFINITY else min(LIMIT, hard)
        for _, hard in map(resource.getrlimit, (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    )
    return CONTAINERS_CONF.format(files=files, processes=processes)


@contextmanager
def _mount_namespace() -> Iterator[int]:
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER]
    # It ends with us, as its standard input does.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if not holder.stdout.readline():
            raise NotHere("no mount namespace can be made here")
        try:
            yield holder.pid
        finally:
            holder.stdin.close()


def _require_programs() -> None:
    """Install what is missing, where that can be done. Raises NotHere."""
    if os.geteuid() != 0:
        raise NotHere("images are built as root, without a daemon; this is another user")
    if not _missing():
        return
    if not _is_debian_12(OS_RELEASE):
        raise NotHere(f"missing: {', '.join(_missing())}; they are installed on Debian 12 alone")
    print(f"installing {' '.join(PACKAGES)}", flush=True)  # noqa: T201 - it takes a while
    install = "apt-get update && apt-get install --yes --no-install-recommends " + " ".join(PACKAGES)
    done = subprocess.run(
        ["sh", "-c", install], check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    if _missing():
        raise NotHere(f"missing: {', '.join(_missing())}; apt-get: {done.stderr.strip()[-500:]}")


def _is_debian_12(file: Path) -> bool:
    """Whether that is the system that a file such as /etc/os-release names."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return False
    told = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    return (told.get("ID"), told.get("VERSION_ID")) == ("debian", "12")


def _missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _into(file: int) -> dict[str, int]:
    return {"stdout": file, "stderr": subprocess.STDOUT}
