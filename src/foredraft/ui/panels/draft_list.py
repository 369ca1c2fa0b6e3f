"""The list of drafts in three groups, each with its reason; and what is said when none fits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from nicegui import ui

from foredraft.models.hub import family
from foredraft.models.pairing import NOT_USABLE, RECOMMENDED, WORKS
from foredraft.runtime.managed_model import ModelState
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, icon
from foredraft.ui.names import display_name, draft_name, draft_title, gain_words, size_words
from foredraft.ui.panels.known_drafts import known_draft, size_of
from foredraft.ui.shelf import Draft, Drafts
from foredraft.ui.state import Page

Choose = Callable[[str | None], Awaitable[None]]


def draft_list(page: Page, state: ModelState, drafts: Drafts, choose: Choose) -> None:
    t = page.words
    current = state.draft_info.path if state.draft_info and page.choices.enabled else None
    chosen = next((draft_title(d.model, t) for d in drafts.found or () if str(d.model.path) == current), None)
    if current is not None and chosen is None:
        chosen = draft_name(state)  # loaded from a path that is not on the shelf
    label = t("spec.off") if not page.choices.enabled else chosen or t("spec.choose")
    with Tag("div", "").classes("fd-stack"):
        Tag("span", t("spec.draft_model"), id="fd-draft-label").classes("fd-label")
        with Tag(
            "button", "", type="button", id="fd-draft", aria_haspopup="listbox",
            aria_labelledby="fd-draft-label fd-draft-value",
        ).classes("fd-field fd-picker"):  # fmt: skip
            Tag("span", label, id="fd-draft-value")
            icon("expand_more")
            menu = ui.menu().classes("fd-menu").props("fit auto-close role=presentation")
            with menu, Tag("div", "", role="listbox", aria_label=t("spec.draft_model")):
                _option(t("spec.off"), "", not page.choices.enabled, lambda: choose(None))
                for level in (RECOMMENDED, WORKS, NOT_USABLE):
                    group = drafts.level(level)
                    if group:
                        with Tag("div", "", role="group", aria_label=t(f"spec.level_{level}")):
                            Tag("div", t(f"spec.level_{level}"), aria_hidden="true").classes("fd-group")
                            for draft in group:
                                _draft_option(page, draft, current, choose)
                _option(t("spec.get_another"), "", False, lambda: ui.navigate.to("/models"))


def _draft_option(page: Page, draft: Draft, current: str | None, choose: Choose) -> None:
    path = str(draft.model.path)
    words = _reason(page, draft)
    if not draft.pairing.usable:
        _option(draft_title(draft.model, page.words), words, False, None)
        return
    _option(draft_title(draft.model, page.words), words, path == current, lambda: choose(path))


def _reason(page: Page, draft: Draft) -> str:
    t = page.words
    parts = [t(draft.pairing.why)]
    if draft.pairing.usable:
        if draft.gain is not None:
            key = "spec.measured_short" if draft.gain.measured else "spec.estimated_short"
            parts.append(t(key, x=gain_words(draft.gain.speedup)))
        parts.append(t("spec.memory", m=size_words(draft.model.size_bytes)))
    return " · ".join(parts)


def _option(name: str, words: str, chosen: bool, action: Callable[[], object] | None) -> None:
    with Tag("button", "", type="button", role="option", aria_selected=str(chosen).lower()) as made:
        Tag("b", name)
        if words:
            Tag("small", words)
    made.classes("fd-option")
    if action is None:
        made.attributes(aria_disabled="true")
    else:
        made.on("click", lambda _: action(), args=[])


def no_drafts(page: Page, state: ModelState, drafts: Drafts) -> None:
    """Nothing on the shelf fits: why, and three ways on."""
    t, others = page.words, drafts.found or []
    name = display_name(state)
    with Tag("div", "", role="status").classes("fd-card warn fd-stack"):
        Tag("h3", t("none.title"))
        known = known_draft(state, page.app.shelf)
        if others:
            Tag("p", t("none.text", n=len(others), model=name))
        if known is not None:
            button(
                t("none.download", draft=known.name, size=f"{size_of(known):.1f}"),
                lambda: ui.navigate.to(f"/models?get={known.repository}"),
                kind="primary wide",
                icon_name="download",
            )
        else:
            Tag("p", t("none.unknown"))
            words = family(state.id)
            button(
                t("none.search", words=words),
                lambda: ui.navigate.to(f"/models?get={quote(words)}"),
                kind="outline wide",
                icon_name="search",
            )

        def from_text() -> None:
            page.choose(enabled=True, method="suffix")
            page.app.hub.publish("models")

        button(t("none.from_text"), from_text, kind="outline wide")
        if others:
            button(t("none.why"), lambda: _show_reasons(page, others), kind="link")
        if state.info is not None and 0 < state.info.n_params < 3_500_000_000:
            Tag("p", t("none.small"))


def _show_reasons(page: Page, others: list[Draft]) -> None:
    t = page.words
    with dialog(t("none.why_title")), Tag("table", "").classes("fd-data"), Tag("tbody", ""):
        for draft in others:
            with Tag("tr", ""):
                Tag("th", draft_title(draft.model, t), scope="row")
                Tag("td", t(draft.pairing.why))
