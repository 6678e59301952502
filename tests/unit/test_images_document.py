"""docs/images.md and deploy/compose.yaml name targets, tags, arguments and variables that there are."""

from __future__ import annotations

import re
from pathlib import Path

from seqserve.settings import Settings
from support.container_images import TAGS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "images.md").read_text()
COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_each_target_stands_in_its_table_and_is_built_by_a_command() -> None:
    targets = dict(re.findall(r"^\| `([a-z-]+)` \| `(seqserve:\S+)` \|", DOCUMENT, re.MULTILINE))

    assert targets == TAGS
    assert {*re.findall(r"--target (\S+)", DOCUMENT)} == {*TAGS}


def test_each_argument_is_the_dockerfiles() -> None:
    arguments = {*re.findall(r"--build-arg ([A-Z_]+)=", DOCUMENT)}
    arguments |= {*re.findall(r"^\| `([A-Z_]+)` \|", DOCUMENT, re.MULTILINE)}

    assert arguments
    assert arguments <= {*re.findall(r"^ARG ([A-Z_]+)", DOCKERFILE, re.MULTILINE)}


def test_each_variable_is_a_setting() -> None:
    named = {*re.findall(r"\bSEQSERVE_([A-Z_]+)\b", DOCUMENT + COMPOSE + DOCKERFILE)}

    assert len(named) > 5
    named -= {"PYTHON", "TESTS_REQUIRE"}  # -DSEQSERVE_PYTHON is CMake's; the other is the tests'
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_what_is_mentioned_is_there() -> None:
    for path in re.findall(r"deploy/images/[\w.-]+", DOCUMENT + DOCKERFILE):
        assert (ROOT / path).exists(), path
