"""Well-known pairs that this machine's memory would hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foredraft.models.recommend import catalogue, recommended_drafts, room
from foredraft.ui.components.elements import Tag, button
from foredraft.ui.state import Page


def pairs(page: Page, on_get: Callable[[str], Any]) -> None:
    import psutil

    t = page.words
    memory = psutil.virtual_memory().total / 1e9
    Tag("h2", t("pairs.title"))
    Tag("p", t("pairs.help", m=f"{memory:.0f}")).classes("fd-help")
    with (
        Tag("div", "", tabindex="0", role="region", aria_label=t("pairs.title")).classes("fd-scroll-x"),
        Tag("table", "").classes("fd-data cards"),
    ):
        with Tag("thead", ""), Tag("tr", ""):
            for name in ("main", "draft", "size", "fits", "get"):
                Tag("th", t(f"pairs.{name}"), scope="col").classes("n" if name == "size" else "")
        with Tag("tbody", ""):
            for main in sorted((m for m in catalogue() if m.drafts), key=lambda m: m.params):
                draft = recommended_drafts(main)[0]
                size = room(main) / 1e9
                with Tag("tr", ""):
                    Tag("th", main.name, scope="row")
                    Tag("td", draft.name, data_label=t("pairs.draft"))
                    Tag("td", f"{size:.1f} GB", data_label=t("pairs.size")).classes("n")
                    Tag("td", t("pairs.yes" if size < 0.8 * memory else "pairs.no"), data_label=t("pairs.fits"))
                    with Tag("td", ""), Tag("div", "").classes("fd-row").style("flex-wrap: nowrap"):
                        button(t("pairs.main"), lambda main=main: on_get(main.repository), kind="quiet",
                               aria_label=f"{t('pairs.main')}: {main.name}")  # fmt: skip
                        button(t("pairs.draft"), lambda draft=draft: on_get(draft.repository), kind="quiet",
                               aria_label=f"{t('pairs.draft')}: {draft.name}")  # fmt: skip
