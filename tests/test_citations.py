"""What the code cites can be read: every "docs/page.md §n" names a page of this repository and a section of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CITATION = re.compile(r"((?:[\w-]+/)*[\w-]+\.md)[\s#\"]*§\s*(\d+(?:\.\d+)*)")
SHORT = {"A": "docs/concepts/algorithms.md", "E": "docs/concepts/engine.md"}
"""As `controllers/hyperparameters.py` abbreviates them."""


def citations(text: str) -> list[tuple[str, str]]:
    """(page, section) of each citation in a source file; lines may break within."""
    return [(page, section) for page, section in CITATION.findall(text)]


def sections(page: str) -> set[str]:
    """The numbers of a page's sections."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", text, re.MULTILINE))


def sources() -> list[Path]:
    places = [ROOT / name for name in ("src", "tests", "benchmarks", "examples")]
    return [path for place in places for path in sorted(place.rglob("*.py")) if path != Path(__file__)]


def test_every_citation_names_a_section_that_there_is() -> None:
    found = 0
    for path in sources():
        for page, section in citations(path.read_text(encoding="utf-8")):
            found += 1
            where = f"{path.relative_to(ROOT)} cites {page} §{section}"
            assert page.startswith("docs/"), where
            assert (ROOT / page).is_file(), where
            assert section in sections(page), where
    assert found >= 19


def test_the_short_citations_of_the_hyperparameters_too() -> None:
    text = (ROOT / "src/foredraft/speculative/controllers/hyperparameters.py").read_text(encoding="utf-8")
    cited = re.findall(r"\b([A-Z]) §(\d+(?:\.\d+)*)", text)
    assert len(cited) > 10
    for letter, section in cited:
        assert section in sections(SHORT[letter]), f"{letter} §{section}"


@pytest.mark.parametrize("text", ["(algorithms.md §1.6)", "see docs/concepts/\nround.md §2", '"docs/a.md §3.1"'])
def test_citations_are_found(text: str) -> None:
    assert len(citations(text)) == 1
