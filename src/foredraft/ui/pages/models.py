"""The models page: what is on the shelf, what would suit this machine, downloads."""

from __future__ import annotations

from nicegui import run, ui

from foredraft.core.errors import ForedraftError
from foredraft.models.store import ModelFile
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, icon_button
from foredraft.ui.downloads import DONE, FAILED, PAUSED, RUNNING, Download
from foredraft.ui.frame import begin, frame, notices, page_head
from foredraft.ui.names import size_words
from foredraft.ui.panels.hub_search import hub_search, show_offer
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
            page_head(page, t("rail.models"))
            _loaded(page)
            shelf_table(page, lambda model: open_load(page, model.name), lambda model: _delete(page, model))
            hub_search(page, get)
            _downloads(page)
            pairs(page, lambda repository: show_offer(page, repository))


def _loaded(page: Page) -> None:
    t = page.words

    @ui.refreshable
    def now() -> None:
        state = page.app.loaded()
        if page.app.load_error:
            Tag("div", t("load.failed", error=page.error_words(page.app.load_error)), role="alert").classes("fd-error")
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


def _downloads(page: Page) -> None:
    t, downloads = page.words, page.app.downloads

    @ui.refreshable
    def rows() -> None:
        if downloads.all:
            Tag("h2", t("models.downloads_title"))
        for one in downloads.all:
            with Tag("div", "").classes("fd-card"):
                _download(page, one)

    rows()
    page.refreshers["downloads"] = rows.refresh


def _download(page: Page, one: Download) -> None:
    t, downloads = page.words, page.app.downloads
    with Tag("div", "").classes("fd-row").style("justify-content: space-between; flex-wrap: nowrap"):
        Tag("b", one.name).style("overflow-wrap: anywhere")
        if one.state == RUNNING:
            icon_button("pause", t("models.pause"), lambda: downloads.pause(one), small=True)
        elif one.state in (PAUSED, FAILED):
            icon_button("play_arrow", t("models.resume"), lambda: downloads.resume(one), small=True)
        else:
            found = page.app.shelf.find(str(one.path)) if one.path else None
            if found is not None and found.usable:
                button(t("load.load"), lambda: open_load(page, found.name), kind="quiet")
    words = t("models.progress", a=size_words(one.arrived), b=size_words(one.choice.size), p=f"{one.share:.0%}")
    Tag("p", f"{t('models.' + one.state)} · {words}", role="status")
    if one.state != DONE:
        Tag("progress", "", value=round(one.share, 3), max=1, aria_label=one.name)
    if one.error:
        Tag("p", page.error_words(one.error), role="alert")


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
                ui.notify(page.error_words(error), type="warning", multi_line=True)
            page.app.shelf.forget()
            page.app.hub.publish("shelf")

        button(t("models.delete"), delete, kind="outline danger")
