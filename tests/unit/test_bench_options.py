"""What a benchmark may be asked for."""

from __future__ import annotations

import sys

import pytest

from bench.options import make_parser, read


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--seconds", "0"), "--seconds 0: above 0"),
        (("--seconds", "nan"), "--seconds nan: above 0"),
        (("--seconds", "inf"), "at most 3600"),
        (("--pairs", "5"), "--pairs 5: at least 6"),
        (("--server-core", "1"), "--server-core and --load-core are both 1"),
        (("--server-core", "9999"), "no core 9999 here"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    option: tuple[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *option])

    with pytest.raises(SystemExit) as ended:
        read(make_parser(None))

    assert ended.value.code == 2
    assert words in capsys.readouterr().err
