"""The models on this machine with their sizes, and the drafts that fit each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from foredraft.models.head_fit import made_for
from foredraft.models.places import SOURCES
from foredraft.models.store import ModelFile
from foredraft.ui.components.elements import Tag, button, icon_button
from foredraft.ui.names import draft_title, size_words
from foredraft.ui.state import Page

OWN = ("own", "imported")


def shelf_table(page: Page, on_load: Callable[[ModelFile], Any], on_delete: Callable[[ModelFile], Any]) -> None:
    t, shelf = page.words, page.app.shelf
    state: dict[str, Any] = {"models": None, "fits": {}}

    @ui.refreshable
    def rows() -> None:
        models = state["models"]
        if models is None:
            Tag("p", t("models.reading"), role="status").classes("fd-help")
            return
        if not models:
            Tag("p", t("models.none")).classes("fd-help")
            return
        with (
            Tag("div", "", tabindex="0", role="region", aria_label=t("models.shelf")).classes("fd-scroll-x"),
            Tag("table", "").classes("fd-data cards"),
        ):
            with Tag("thead", ""), Tag("tr", ""):
                for name in ("name", "quantisation", "size", "place", "drafts", "actions"):
                    Tag("th", t(f"models.{name}"), scope="col").classes("n" if name == "size" else "")
            with Tag("tbody", ""):
                for model in models:
                    _row(page, model, state["fits"].get(model.name), on_load, on_delete)

    async def look() -> None:
        state["models"] = await run.io_bound(shelf.models)
        rows.refresh()
        state["fits"] = await run.io_bound(_fits, page)
        rows.refresh()

    Tag("h2", t("models.shelf"))
    rows()
    page.refreshers["shelf"] = lambda: asyncio.get_running_loop().create_task(look())
    ui.timer(0.05, look, once=True)


def _fits(page: Page) -> dict[str, list[str]]:
    """For each model that can write text, the drafts that would make it faster; for each draft that reads another
    model's hidden rows, those that it fits."""
    store, t = page.app.shelf.store, page.words
    if store is None:
        return {}
    return {
        model.name: [main.name for main in store.mains(model)]
        if model.drafts_only
        else [draft_title(draft, t) for draft, pairing in store.drafts(model) if pairing.usable]
        for model in store.models()
        if model.usable or model.drafts_only
    }


def _row(
    page: Page,
    model: ModelFile,
    fits: list[str] | None,
    on_load: Callable[[ModelFile], Any],
    on_delete: Callable[[ModelFile], Any],
) -> None:
    t = page.words
    with Tag("tr", ""):
        Tag("th", model.name, scope="row")
        Tag("td", model.facts.quantisation if model.facts else "–", data_label=t("models.quantisation"))
        Tag("td", size_words(model.size_bytes), data_label=t("models.size")).classes("n")
        place = t(f"models.place_{model.source}") if model.source in SOURCES else model.source
        Tag("td", place, data_label=t("models.place"))
        with Tag("td", "", data_label=t("models.drafts")):
            if not model.usable and not model.drafts_only:
                Tag("span", t(model.problem) if model.problem is not None else t("models.unusable"))
            elif fits is None:
                Tag("span", "…")
            elif model.drafts_only and model.facts is not None:
                Tag("span", t("models.draft_for", models=", ".join(fits[:3]) or t(made_for(model.facts))))
            else:
                Tag("span", ", ".join(fits[:3]) + (" …" if len(fits) > 3 else "") if fits else t("models.no_draft"))
        with Tag("td", ""), Tag("div", "").classes("fd-row").style("flex-wrap: nowrap"):
            if model.usable:
                button(t("load.load"), lambda: on_load(model), kind="quiet")
            if model.source in OWN:
                icon_button(
                    "delete_outline", t("models.delete_name", name=model.name), lambda: on_delete(model), small=True
                )
