"""Every module that opens a gateway's gRPC port runs on both fronts, or says why not."""

from __future__ import annotations

import re
from pathlib import Path

from support.fronts import BOTH_FRONTS, ONE_FRONT

INTEGRATION = Path(__file__).parents[1] / "integration"
OPENS_A_PORT = re.compile(r"\brunning_gateway\b|\btwo_fronts\b|\bGateway\(|\b(gateway|channel): ")
"""A gateway of its own, or one that a fixture brings."""


def test_each_module_that_opens_the_port_is_listed_and_no_other() -> None:
    modules = {path.stem: path.read_text() for path in INTEGRATION.glob("test_*.py")}
    opening = {name for name, text in modules.items() if OPENS_A_PORT.search(text)}
    assert opening <= BOTH_FRONTS | ONE_FRONT.keys()
    assert modules.keys() >= BOTH_FRONTS | ONE_FRONT.keys()
    assert not BOTH_FRONTS & ONE_FRONT.keys()
