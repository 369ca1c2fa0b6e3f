"""What the colours of an answer mean."""

from __future__ import annotations

from foredraft.ui.components.elements import Tag
from foredraft.ui.state import Page


def legend(page: Page) -> None:
    with Tag("div", "").classes("fd-legend"):
        for name in ("accepted", "corrected", "main"):
            with Tag("span", ""):
                Tag("i", "abc").classes(name)
                Tag("span", page.words(f"spec.legend_{name}"))
