"""Above the conversation: the model, the draft with its measured gain, the way to the sidebar."""

from __future__ import annotations

from nicegui import ui

from foredraft.core.tables import DRAFTERS, LOOKUP
from foredraft.runtime.managed_model import ModelState
from foredraft.ui.components.elements import Tag, icon, icon_button, switch
from foredraft.ui.names import display_name, draft_name, gain_words
from foredraft.ui.panels.load_dialog import open_load, unload
from foredraft.ui.state import Page


def header(page: Page) -> None:
    t = page.words

    @ui.refreshable
    def pills() -> None:
        state = page.app.loaded()
        _model_pill(page, state)
        if page.power and state is not None and state.info is not None and page.choices.enabled:
            _draft_pill(page, state)

    with Tag("header", "").classes("fd-head"):
        show_list = icon_button("menu", t("header.chats"), lambda: ui.run_javascript("fd.toggle('list')"))
        show_list.classes("narrow-only for-list")
        pills()
        if page.power:
            icon_button("tune", t("header.sidebar"), lambda: ui.run_javascript("fd.toggle('side')"))
    page.refreshers["header"] = pills.refresh


def _model_pill(page: Page, state: ModelState | None) -> None:
    t = page.words
    with Tag("button", "", type="button", data_key="model", aria_haspopup="menu").classes("fd-pill"):
        dot = "" if state is None else "on" if state.status == "ready" else "busy"
        Tag("span", "").classes(f"fd-dot {dot}")
        if state is None:
            Tag("span", t("header.no_model")).classes("name")
        elif state.info is None:
            Tag("span", t("header.loading", p=round(100 * state.progress))).classes("name")
        else:
            Tag("span", display_name(state)).classes("name")
            if state.info.quantisation:
                Tag("span", state.info.quantisation).classes("fd-chip code")
        icon("expand_more")
        with ui.menu().classes("fd-menu").props("role=presentation") as menu:
            _model_menu(page, state, menu)


def _model_menu(page: Page, state: ModelState | None, menu: ui.menu) -> None:
    t = page.words
    if not page.power:
        with Tag("div", "").style("padding: 0.4rem 0.7rem"):
            switch(t("header.faster"), page.choices.enabled, lambda on: _faster(page, on))
            Tag("p", t("header.faster_help")).classes("fd-help")
    with Tag("div", "", role="menu", aria_label=t("load.model")):
        for name, action, shown in (
            ("load", lambda: open_load(page), True),
            ("unload", lambda: unload(page), state is not None and state.info is not None),
        ):
            if shown:
                item = Tag("button", t(f"header.{name}"), type="button", role="menuitem").classes("fd-option")
                item.on("click", menu.close, args=[])
                item.on("click", lambda _, action=action: action(), args=[])


def _faster(page: Page, on: bool) -> None:
    page.choose(enabled=on, method="auto")
    page.app.hub.publish("models")


def _draft_pill(page: Page, state: ModelState) -> None:
    t = page.words
    from_text = DRAFTERS.has(page.choices.method, LOOKUP) or state.speculation.status == "active"
    name = draft_name(state) or (t("spec.from_text") if from_text else "")
    with Tag("button", "", type="button", title=t("spec.title")).classes("fd-pill draft") as made:
        icon("bolt").classes("bolt")
        Tag("span", name or t("header.no_draft"))
        measured = page.app.measuring.of(state)
        if measured is not None:
            Tag("span", gain_words(measured.gain)).classes("fd-chip good" if measured.gain >= 1 else "fd-chip warn")
        elif state.draft_info is not None:
            Tag("span", t("header.unmeasured")).classes("fd-chip")
    made.on("click", lambda _: page.actions["open_section"]("spec"), args=[])
