"""What is said where the benchmark's C++ programs cannot be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.building import NotBuilt, build_programs, first_error

CMAKE = """CMake Error at CMakeLists.txt:15 (find_package):
  Could not find a package configuration file provided by "gRPC" with any of
  the following names:
"""


def test_without_cmake_the_packages_are_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotBuilt, match=r"apt install cmake .* protobuf-compiler-grpc$") as refused:
        build_programs(tmp_path / "build")

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (CMAKE, 'Could not find a package configuration file provided by "gRPC" with any of'),
        ("main.cc:3: error: no such thing\nmake: *** [all] Error 2\n", "main.cc:3: error: no such thing"),
        ("", "no reason given"),
    ],
)
def test_the_first_complaint_is_told(said: str, told: str) -> None:
    assert first_error(said) == told
