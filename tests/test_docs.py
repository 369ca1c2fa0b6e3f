"""The documentation: links lead somewhere, pictures have words for those who cannot see them and can be made again,
pages that are made from the code are current, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from tools.pictures import concepts
from tools.reference import __main__ as reference

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")])
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
LARGEST = 60_000
"""Bytes of a drawing."""


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the site and the usual hosts make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    words = (
        re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    )
    return {re.sub(r"\s", "-", word) for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere_and_pictures_have_words(page: Path) -> None:
    text = re.sub(r"(```|~~~).*?\1", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for picture, words, target in LINK.findall(text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        if target.startswith("#"):
            target = page.name + target
        file, _, anchor = target.partition("#")
        path = page.parent / file
        assert path.exists(), f"{target} is not there"
        inside = path.resolve().is_relative_to(ROOT / "docs") or not page.is_relative_to(ROOT / "docs")
        assert inside, f"{target} is no page of the site: name it without a link"
        assert not anchor or anchor in anchors(path), f"{target}: the page has no such heading"
        if picture:
            assert len(words) > 20, f"{target} has no words for those who cannot see it"


def pages_of(part: Any) -> Iterator[str]:
    """The files of a navigation."""
    if isinstance(part, str):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from pages_of(inner)


def test_every_page_is_in_the_navigation_once() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = list(pages_of(site["nav"]))
    assert sorted(listed) == sorted(
        path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")
    )


@pytest.mark.parametrize("name", [*reference.PAGES, *reference.SHOWN])
def test_pages_made_from_the_code_are_current(name: str) -> None:
    made = (reference.DOCS / name).read_text(encoding="utf-8")
    assert made == reference.text(name), "run `python -m tools.reference` (or `make reference`)"


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda path: path.stem)
def test_drawings_load_nothing_from_elsewhere(path: Path) -> None:
    assert not re.search(r"@import|url\([^#]|href=[\"'](?!#|data:)|<script", path.read_text(encoding="utf-8"))


def test_the_site_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Built as `make docs` does, where its tools are installed."""
    config = pytest.importorskip("mkdocs.config", reason="make docs installs mkdocs")
    build = pytest.importorskip("mkdocs.commands.build")
    site = config.load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True)
    build.build(site)
    loaded = re.compile(r"<(?:script|link|img|iframe|source)[^>]*(?:src|href)=[\"']?(https?:)?//")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    assert [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("page", ["round", "lossless", "when-it-pays", "never-slower"])
def test_every_concept_has_its_picture(page: Path) -> None:
    text = (ROOT / "docs" / "concepts" / f"{page}.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\((\.\./images/[^)]+\.svg)\)", text)
    assert len(pictures) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda path: path.stem)
def test_drawings_are_small_and_sound(path: Path) -> None:
    assert path.stat().st_size <= LARGEST
    assert ET.parse(path).getroot().tag.endswith("svg")


def test_the_moving_picture_moves_and_is_small() -> None:
    data = (ROOT / "docs" / "images" / "app.gif").read_bytes()
    assert data[:6] == b"GIF89a"
    assert data.count(b"\x21\xf9\x04") > 20  # a block for each frame
    assert len(data) <= 1_000_000


@pytest.mark.parametrize(
    "draw",
    [
        concepts.a_round,
        concepts.the_same_text,
        lambda path: concepts.when_it_pays(path, tokens=100),
        lambda path: concepts.the_promise(path, tokens=300),
    ],
    ids=["round", "same-text", "when-it-pays", "promise"],
)
def test_the_pictures_can_be_made_anew(draw: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "drawn.svg"
    try:
        draw(path)
    except SystemExit as unlike:
        pytest.skip(str(unlike))  # this machine's batches are not exact: the picture cannot be made here
    root = ET.parse(path).getroot()
    assert root[0].tag.endswith("title")
    assert root[0].text
    assert path.stat().st_size <= LARGEST
