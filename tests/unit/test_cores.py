"""Cores: affinity, bounded by the quotas of a container's cgroups, old and new."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqserve.cores import available_cores

V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 23 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
OTHERS = (
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n33 23 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"
)
V2_FOLDER, V1_FOLDER = "sys/fs/cgroup", "sys/fs/cgroup/cpu,cpuacct"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def write(system: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = system / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return system


def machine(system: Path, group: str, mount: str, quotas: dict[str, str], *, root: str = "/") -> Path:
    """A machine where this process is in one group; `quotas` are files below /sys/fs/cgroup."""
    mounts = f"{OTHERS}\n{mount.format(root=root)}\n"
    return write(system, {"proc/self/cgroup": group, "proc/self/mountinfo": mounts, **quotas})


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("50000 25000\n", 2),
        ("", 8),
        ("nonsense\n", 8),
    ],
    ids=[
        "no quota",
        "two",
        "one and a half",
        "a tenth",
        "more than there are",
        "another period",
        "empty",
        "one word",
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, limit: str, cores: int) -> None:
    system = machine(tmp_path, "0::/\n", V2, {f"{V2_FOLDER}/cpu.max": limit})

    assert available_cores(system) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("-1", "100000", 8), ("300000", "100000", 3), ("250000", "100000", 3), ("5000", "50000", 1)],
    ids=["no quota", "three", "two and a half", "a tenth"],
)
def test_the_quota_of_an_old_cgroup_counts(tmp_path: Path, quota: str, period: str, cores: int) -> None:
    files = {f"{V1_FOLDER}/cpu.cfs_quota_us": quota + "\n", f"{V1_FOLDER}/cpu.cfs_period_us": period + "\n"}
    system = machine(tmp_path, "9:name=systemd:/\n4:cpu,cpuacct:/\n0::/\n", V1, files)

    assert available_cores(system) == cores


@pytest.mark.parametrize(
    ("pod", "container", "cores"),
    [("300000", "max", 3), ("300000", "200000", 2), ("300000", "500000", 3), ("max", "max", 8)],
    ids=["of the group above", "of its own", "above, which is less", "none"],
)
def test_the_least_quota_of_nested_groups_counts(
    tmp_path: Path, pod: str, container: str, cores: int
) -> None:
    quotas = {
        f"{V2_FOLDER}/pod/cpu.max": f"{pod} 100000\n",
        f"{V2_FOLDER}/pod/container/cpu.max": f"{container} 100000\n",
        f"{V2_FOLDER}/another/cpu.max": "100000 100000\n",  # somebody else's
    }
    system = machine(tmp_path, "0::/pod/container\n", V2, quotas)

    assert available_cores(system) == cores


def test_nested_old_groups_count_as_well(tmp_path: Path) -> None:
    files = {
        f"{V1_FOLDER}/pod/cpu.cfs_quota_us": "200000\n",
        f"{V1_FOLDER}/pod/cpu.cfs_period_us": "100000\n",
        f"{V1_FOLDER}/pod/container/cpu.cfs_quota_us": "-1\n",
        f"{V1_FOLDER}/pod/container/cpu.cfs_period_us": "100000\n",
    }

    assert available_cores(machine(tmp_path, "4:cpu,cpuacct:/pod/container\n", V1, files)) == 2


@pytest.mark.parametrize("group", ["/docker/1f2e", "/elsewhere", "/../elsewhere"])
def test_a_container_that_sees_the_hosts_names_of_groups_finds_its_own_quota(
    tmp_path: Path, group: str
) -> None:
    quotas = {f"{V2_FOLDER}/cpu.max": "200000 100000\n"}
    system = machine(tmp_path, f"0::{group}\n", V2, quotas, root="/docker/1f2e")

    assert available_cores(system) == 2


def test_on_a_machine_with_both_the_old_groups_quota_counts(tmp_path: Path) -> None:
    both = f"{V1}\n32 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    files = {f"{V1_FOLDER}/cpu.cfs_quota_us": "100000\n", f"{V1_FOLDER}/cpu.cfs_period_us": "100000\n"}

    assert available_cores(machine(tmp_path, "4:cpu,cpuacct:/\n0::/user.slice\n", both, files)) == 1


def test_affinity_and_with_it_the_cpuset_bounds_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6})
    system = machine(tmp_path, "0::/\n", V2, {f"{V2_FOLDER}/cpu.max": "600000 100000\n"})

    assert available_cores(system) == 3


def test_without_cgroups_affinity_decides(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 8
