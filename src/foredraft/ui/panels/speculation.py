"""The section "Speculative Decoding": every state it can be in, and everything that can be chosen."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from foredraft.core.declared import declared
from foredraft.core.errors import ForedraftError
from foredraft.core.params import SpeculationParams
from foredraft.core.registry import Registry
from foredraft.core.tables import DRAFTERS, LOOKUP, RULES, methods
from foredraft.engines.llamacpp.options import CPU
from foredraft.runtime.managed_model import ModelState
from foredraft.ui.choices import SPECULATION, Choices
from foredraft.ui.components.elements import Tag, button, section, select, slider, switch
from foredraft.ui.names import words_of
from foredraft.ui.panels.draft_card import draft_card
from foredraft.ui.panels.draft_list import draft_list, no_drafts
from foredraft.ui.panels.legend import legend
from foredraft.ui.panels.load_dialog import open_load
from foredraft.ui.panels.unchanged import open_check
from foredraft.ui.state import DRAFT_DEVICE, PRESET_SPECULATION, Page

USUAL = ("auto", "model", "suffix")
"""Methods that are shown to everybody; all of them to developers."""
STATUS_CHIPS = {"active": "good", "off": "", "paused": "warn", "unavailable": "warn"}


def speculation(page: Page) -> None:
    t = page.words

    @ui.refreshable
    def status() -> None:
        _status(page, page.app.loaded())

    @ui.refreshable
    def body() -> None:
        state = page.app.loaded()
        Tag("p", t("spec.help")).classes("fd-help")
        with Tag("details", ""):
            Tag("summary", t("spec.how")).classes("fd-help").style("cursor: pointer; min-height: 1.5rem")
            for number in (1, 2, 3):
                Tag("p", t(f"spec.how_{number}")).classes("fd-help").style("margin-top: 0.4rem")
        if state is None or state.info is None:
            Tag("p", t("spec.no_main" if state is None else "spec.main_loading"), role="status").style("margin: 0")
            if state is None:
                button(t("header.load"), lambda: open_load(page), kind="outline wide")
            return
        now = page.choices
        select(t("spec.method"), method_names(page), now.method, lambda method: _choose(page, method=method))
        if from_text_only(now):
            Tag("p", t("spec.from_text_help")).classes("fd-help")
        else:
            _draft(page, state)
        _sizes(page, now)
        if page.developer:
            _knobs(page, state, now)
        _highlight(page, now)
        _links(page)

    with section(t("spec.title"), opened=True, mark="spec"):
        status()
        body()

    def both() -> None:
        status.refresh()
        body.refresh()

    page.refreshers["spec"] = both
    page.refreshers["spec_status"] = status.refresh  # may change in every answer, while the list below is open


def method_names(page: Page) -> dict[str, str]:
    """The methods that can be chosen, with their names."""
    shown = [name for name in methods() if name != "off"] if page.developer else [*USUAL]
    if page.choices.method not in shown and page.choices.method != "off":
        shown.append(page.choices.method)
    return {name: _named(page, "method", DRAFTERS, name) for name in shown}


def from_text_only(now: Choices) -> bool:
    """Whether the guesses come from a single source that needs no model."""
    return DRAFTERS.has(now.method, LOOKUP)


def _named(page: Page, what: str, table: Registry[Any], name: str) -> str:
    """The name of a part in the user's language; what its table says, where that has none."""
    entry = table.entries.get(name)
    said = f"{name}: {entry.help}" if entry is not None and entry.help else name
    return words_of(page.words, f"spec.{what}_{name}", said)


def _choose(page: Page, **values: Any) -> None:
    page.choose(**values)
    page.app.hub.publish("models")


def _status(page: Page, state: ModelState | None) -> None:
    """The chip, and the reason where it is not simply active."""
    t = page.words
    status, reason = "off", None
    if state is not None and state.info is not None:
        status, reason = state.speculation.status, state.speculation.reason
    if not page.choices.enabled:
        status, reason = "off", None
    elif state is not None and from_text_only(page.choices) and status in ("off", "unavailable"):
        status, reason = "active", None
    with Tag("div", "", role="status").classes("fd-row"):
        Tag("span", t(f"spec.status_{status}")).classes(f"fd-chip {STATUS_CHIPS.get(status, '')}")
        if status == "active" and state is not None and state.draft_info is None:
            Tag("span", t("spec.from_text")).classes("fd-chip")
        if state is not None and state.status == "changing":
            Tag("span", t("spec.changing")).classes("fd-help")
    if status == "paused":
        Tag("p", t("spec.paused")).classes("fd-help")
        if reason is not None:
            Tag("p", t(reason)).classes("fd-help")
        if page.choices.adjust:
            Tag("p", t("spec.paused_hint")).classes("fd-help")
    elif status == "unavailable" and reason:
        Tag("p", t("spec.unavailable", reason=reason)).classes("fd-help")


def _draft(page: Page, state: ModelState) -> None:
    """The list and the card; or checking; or the empty state with a way on."""
    t, shelf = page.words, page.app.shelf
    drafts = shelf.drafts(state)
    if drafts.checking:
        Tag("p", t("spec.checking", n=shelf.count() or "…"), role="status").classes("fd-help")
        Tag("progress", "", aria_label=t("spec.checking", n=shelf.count()))
        return
    if not drafts.usable and state.draft_info is None:
        no_drafts(page, state, drafts)
        return

    async def choose(path: str | None) -> None:
        if path is None:
            _choose(page, enabled=False)
            return
        page.choose(enabled=True, method="auto" if page.choices.method == "off" else page.choices.method)
        page.app.draft_error = ""
        try:
            device = page.app.draft_device if page.app.machine.gpus() else None
            await page.app.services.runtime.set_draft(state.id, path, required=True, device=device)
        except ForedraftError as error:
            page.app.draft_error = page.error_words(error)
        page.app.hub.publish("models")

    draft_list(page, state, drafts, choose)
    if page.app.draft_error:
        Tag("p", t("spec.draft_failed", reason=page.app.draft_error), role="alert").classes("fd-error")
    if page.choices.enabled:
        draft_card(page, state, drafts)


def _sizes(page: Page, now: Choices) -> None:
    t = page.words
    switch(t("spec.adjust"), now.adjust, lambda on: _choose(page, adjust=on))
    _slider(page, "max_draft", now.draft_size)


def _slider(page: Page, name: str, value: float) -> None:
    """A slider of a declared parameter."""
    one, t = declared(SpeculationParams)[name], page.words
    assert one.param.slider is not None
    low, high, step = one.param.slider
    slider(
        t(f"spec.{name}"),
        value,
        lambda value: page.choose(**{name: one.kind(value)}),
        low=low,
        high=high,
        step=step,
        help_text=t(f"spec.{name}_help"),
    )


def _place(page: Page, state: ModelState) -> None:
    """Where the draft runs; where there is one place only, that one and why."""
    t, machine = page.words, page.app.machine
    gpus = machine.gpus()
    if not gpus:
        reason = "spec.place_no_gpu" if machine.built() else "spec.place_cpu_build"
        with Tag("div", "").classes("fd-stack").style("gap: 0.15rem"):
            Tag("span", t("spec.place")).classes("fd-label")
            Tag("p", t(reason)).classes("fd-help")
        return
    places = {
        "": t("spec.place_same"),
        **{gpu.place: f"GPU {gpu.index} · {gpu.description}" for gpu in gpus},
        CPU: "CPU",
    }

    async def choose(place: str) -> None:
        page.app.chats.set_preference(DRAFT_DEVICE, place)
        if state.draft_info is not None:
            page.app.draft_error = ""
            try:
                await page.app.services.runtime.set_draft(state.id, state.draft_info.path, required=True, device=place)
            except ForedraftError as error:
                page.app.draft_error = page.error_words(error)
        page.app.hub.publish("models")

    now = state.spec.settings.get("draft_device", "") if state.draft_info else page.app.draft_device
    select(t("spec.place"), places, str(now), choose)


def _knobs(page: Page, state: ModelState, now: Choices) -> None:
    """What only developers see."""
    t = page.words
    _slider(page, "p_min", now.p_min)
    _slider(page, "min_draft", now.min_draft)
    _place(page, state)
    rules = {rule: _named(page, "acceptance", RULES, rule) for rule in RULES}
    select(t("spec.acceptance"), rules, now.acceptance, lambda rule: page.choose(acceptance=rule))
    with Tag("details", ""):
        Tag("summary", t("spec.raw")).classes("fd-help").style("cursor: pointer; min-height: 1.5rem")
        import json

        Tag("pre", json.dumps(now.stored(), indent=1), tabindex="0").classes("fd-log")


def _highlight(page: Page, now: Choices) -> None:
    t = page.words

    def changed(on: bool) -> None:
        page.choose(highlight=on)
        ui.run_javascript(f"document.querySelector('.fd-app').classList.toggle('hl-on', {str(on).lower()})")

    switch(t("spec.highlight"), now.highlight, changed, data_switch="highlight")
    legend(page)
    Tag("p", t("spec.no_highlight"), id="fd-no-highlight", hidden=True).classes("fd-help")


def _links(page: Page) -> None:
    t = page.words
    with Tag("div", "").classes("fd-stack"):
        button(t("spec.check"), lambda: open_check(page), kind="link")
        switch(
            t("spec.in_preset"),
            bool(page.app.chats.preference(PRESET_SPECULATION, True)),
            lambda on: page.app.chats.set_preference(PRESET_SPECULATION, on),
        )

        def reset() -> None:
            defaults = Choices()
            _choose(page, **{name: getattr(defaults, name) for name in SPECULATION})
            page.refresh("side")

        button(t("spec.reset"), reset, kind="link")
