"""Links in Markdown lead to files that are there, and to headings that they have."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
IN_DOCS = {ROOT / "bench" / "findings.md"}
"""Parts of pages in docs, from where their links lead."""
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """All that git knows, or all there are where this is no clone."""
    known = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = known.stdout.splitlines() or [str(path) for path in ROOT.glob("docs/**/*.md")]
    return [ROOT / name for name in names]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    plain = FENCED.sub("", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(plain)}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    folder = ROOT / "docs" if page in IN_DOCS else page.parent
    for target, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        to = (folder / target).resolve() if target else page
        if not to.exists() or (anchor and to.suffix == ".md" and anchor not in anchors(to)):
            broken.append(f"{target}#{anchor}")
    assert not broken
