"""The blocks of docs/monitoring.md: its command is run, and promtool takes its configuration."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from support.documents import blocks, run_block
from support.prometheus import DEPLOY, needs_prometheus

PAGE = DEPLOY.parent / "docs" / "monitoring.md"


def shown() -> str:
    [block] = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def test_the_command_makes_a_token_for_the_scraper_alone(tmp_path: Path) -> None:
    [block] = blocks(PAGE)
    run_block(block, tmp_path)
    assert (tmp_path / "seqserve.token").read_text().startswith("ssv_")
    assert (tmp_path / "seqserve.token").stat().st_mode & 0o077 == 0
    [client] = tomllib.loads((tmp_path / "seqserve.toml").read_text())["clients"].items()
    assert client[0] == "prometheus"
    assert client[1]["scopes"] == ["metrics"]


@needs_prometheus
def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(shown())
    command = ["promtool", "check", "config", "--syntax-only", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
