"""The models page: what is on the shelf, what would suit this machine, downloads."""

from __future__ import annotations

import asyncio
from typing import Any

from nicegui import run, ui

from foredraft.core.errors import ForedraftError
from foredraft.models import hub as models_hub
from foredraft.models.store import ModelFile
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, icon_button, text_field
from foredraft.ui.downloads import DONE, FAILED, PAUSED, RUNNING
from foredraft.ui.frame import begin, frame, notices
from foredraft.ui.names import gigabytes
from foredraft.ui.panels.load_dialog import open_load, unload
from foredraft.ui.panels.pairs import pairs
from foredraft.ui.panels.shelf_table import shelf_table
from foredraft.ui.state import AppState, Page


def register(app: AppState) -> None:
    @ui.page("/models", response_timeout=20)
    def models(get: str = "") -> None:
        models_page(app, get)


def models_page(app: AppState, get: str = "") -> None:
    page = begin(app, "rail.models")
    t = page.words
    with frame(page, "models", classes="no-list no-side", skip_to="fd-page"), Tag("div", "").classes("fd-main"):
        notices(page)
        with Tag("div", "", id="fd-page", tabindex="-1").classes("fd-page"), Tag("div", "").classes("fd-page-in"):
            Tag("h1", t("rail.models")).style("font-size: 1.35rem")
            _loaded(page)
            shelf_table(page, lambda model: open_load(page, model.name), lambda model: _delete(page, model))
            _get(page, get)
            _downloads(page)
            pairs(page, lambda repository: _offer(page, repository))


def _loaded(page: Page) -> None:
    t = page.words

    @ui.refreshable
    def now() -> None:
        state = page.app.loaded()
        if page.app.load_error:
            Tag("div", t("load.failed", error=page.app.load_error), role="alert").classes("fd-error")
        if state is None:
            return
        with Tag("div", "").classes("fd-card good fd-row"):
            name = state.info.name if state.info else state.id
            Tag("span", t("models.loading" if state.info is None else "models.loaded", name=name))
            if state.info is None:
                Tag("progress", "", value=round(state.progress, 2), max=1, aria_label=t("models.loading", name=name))
            elif state.draft_info is not None:
                Tag("span", f"⚡ {state.draft_info.name}").classes("fd-chip good")
            if state.info is not None:
                button(t("header.unload"), lambda: unload(page), kind="quiet")

    now()

    def changed() -> None:
        now.refresh()
        page.refresh("shelf")

    page.refreshers["models"] = changed


def _get(page: Page, wish: str) -> None:
    t = page.words
    state: dict[str, Any] = {"wish": wish}
    Tag("h2", t("models.get"))
    with Tag("form", "").classes("fd-row") as form:
        with ui.element("div").style("flex: 1; min-width: 14rem"):
            text_field(
                t("models.wish"), wish, lambda value: state.update(wish=value), hidden_label=True, on="input",
                placeholder=t("models.wish_example"),
            )  # fmt: skip
        Tag("button", t("models.look"), type="submit").classes("fd-btn primary")
    form.on("submit", lambda _: _offer(page, state["wish"]), js_handler="(e) => { e.preventDefault(); emit(); }")
    Tag("p", t("models.network")).classes("fd-help")


async def _offer(page: Page, wish: str) -> None:
    """What a repository has, to choose from."""
    t = page.words
    if not wish.strip():
        return
    try:
        repository = await asyncio.to_thread(lambda: models_hub.look(models_hub.parse_wish(wish)[0]))
        usual = models_hub.choose(repository)
    except ForedraftError as error:
        ui.notify(str(error), type="warning", multi_line=True)
        return
    with dialog(repository.name) as made:
        for choice in repository.choices:

            def take(choice: models_hub.HubChoice = choice) -> None:
                page.app.downloads.start(repository, choice)
                made.close()

            text = t("models.download", name=choice.quantisation, size=gigabytes(choice.size))
            button(text, take, kind="primary wide" if choice is usual else "quiet wide")


def _downloads(page: Page) -> None:
    t, downloads = page.words, page.app.downloads

    @ui.refreshable
    def rows() -> None:
        for one in downloads.all:
            with Tag("div", "").classes("fd-card"):
                with Tag("div", "").classes("fd-row").style("justify-content: space-between"):
                    Tag("b", one.name)
                    if one.state == RUNNING:
                        icon_button("pause", t("models.pause"), lambda one=one: downloads.pause(one), small=True)
                    elif one.state in (PAUSED, FAILED):
                        icon_button("play_arrow", t("models.resume"), lambda one=one: downloads.resume(one), small=True)
                words = t(
                    "models.progress", a=gigabytes(one.arrived), b=gigabytes(one.choice.size), p=f"{one.share:.0%}"
                )
                Tag("p", f"{t('models.' + one.state)} · {words}", role="status")
                if one.state != DONE:
                    Tag("progress", "", value=round(one.share, 3), max=1, aria_label=one.name)
                if one.error:
                    Tag("p", one.error, role="alert")

    rows()
    page.refreshers["downloads"] = rows.refresh


def _delete(page: Page, model: ModelFile) -> None:
    t, store = page.words, page.app.shelf.store
    with dialog(t("models.delete")) as made:
        Tag("p", t("models.delete_question", name=model.name))

        async def delete() -> None:
            made.close()
            try:
                if store is not None:
                    await run.io_bound(store.remove, model)
            except ForedraftError as error:
                ui.notify(str(error), type="warning", multi_line=True)
            page.app.shelf.forget()
            page.app.hub.publish("shelf")

        button(t("models.delete"), delete, kind="outline danger")
