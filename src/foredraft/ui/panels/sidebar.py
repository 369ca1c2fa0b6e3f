"""The sidebar: settings of the chat, and insights into its answers."""

from __future__ import annotations

import contextlib

from nicegui import ui

from foredraft.core.declared import Declared, Param
from foredraft.core.errors import ParameterError
from foredraft.ui.choices import SAMPLING
from foredraft.ui.components.elements import Tag, section, slider, text_field
from foredraft.ui.names import words_of
from foredraft.ui.panels.insights import insights
from foredraft.ui.panels.presets import presets
from foredraft.ui.panels.speculation import speculation
from foredraft.ui.panels.structured import structured
from foredraft.ui.state import Page


def sidebar(page: Page) -> None:
    t = page.words
    view = {"tab": "settings"}

    def show(tab: str) -> None:
        view["tab"] = tab
        content.refresh()

    @ui.refreshable
    def content() -> None:
        with Tag("div", "", role="tablist", aria_label=t("side.label")).classes("fd-tabs"):
            for tab in ("settings", "insights"):
                chosen = tab == view["tab"]
                made = Tag(
                    "button", t(f"side.{tab}"), type="button", role="tab", id=f"fd-tab-{tab}",
                    aria_selected=str(chosen).lower(), aria_controls="fd-tab-panel",
                )  # fmt: skip
                made.on("click", lambda _, tab=tab: show(tab), args=[])
        with Tag("div", "", role="tabpanel", id="fd-tab-panel", aria_labelledby=f"fd-tab-{view['tab']}"):
            if view["tab"] == "insights":
                insights(page)
            else:
                settings()

    @ui.refreshable
    def settings() -> None:
        presets(page)
        _system_prompt(page)
        speculation(page)
        _sampling(page)
        structured(page)

    with Tag("aside", "", aria_label=t("side.label")).classes("fd-side"):
        content()

    def open_section(name: str) -> None:
        view["tab"] = "settings"
        content.refresh()
        ui.run_javascript(
            f"fd.openSide(); setTimeout(() => {{ const s = document.querySelector('[data-section={name}]');"
            " if (s) { s.open = true; s.querySelector('summary').focus(); } }, 100)"
        )

    page.actions["open_section"] = open_section
    page.refreshers["side"] = content.refresh
    page.refreshers["insights"] = lambda: content.refresh() if view["tab"] == "insights" else None


def _system_prompt(page: Page) -> None:
    t = page.words
    with section(t("system.title"), mark="system"):
        text_field(
            t("system.title"), page.system_prompt, page.set_system_prompt, area=True, hidden_label=True,
            placeholder=t("system.placeholder"),
        )  # fmt: skip


ADVANCED = frozenset({"presence_penalty", "frequency_penalty", "penalty_last_n"})
"""What is not shown to ordinary users."""


def _sampling(page: Page) -> None:
    t, now = page.words, page.choices
    with section(t("sampling.title"), mark="sampling"):
        for one in SAMPLING:
            if one.name in ADVANCED and not page.power:
                continue
            if one.param.slider is None:
                _number(page, one)
                continue
            low, high, step = one.param.slider
            slider(
                words_of(t, f"sampling.{one.name}", one.name.replace("_", " ").capitalize()),
                getattr(now, one.name),
                lambda value, name=one.name: page.choose(**{name: value}),  # type: ignore[misc]
                low=low,
                high=high,
                step=step,
                help_text=words_of(t, f"sampling.{one.name}_help", one.param.help),
            )
        _number(page, MAX_TOKENS)


MAX_TOKENS = Declared("max_tokens", int, True, None, Param("Most tokens of the answer.", low=0))


def _number(page: Page, one: Declared) -> None:
    """A whole number; left empty it is the default."""
    t, value = page.words, getattr(page.choices, one.name)

    def changed(text: str) -> None:
        given = text.strip()
        if not given:
            page.choose(**{one.name: one.default})
        elif given.removeprefix("-").isdigit():
            number = one.param.same.get(int(given), int(given))
            with contextlib.suppress(ParameterError):
                one.check(number)
                page.choose(**{one.name: number})

    least = min([one.param.low or 0, *one.param.same])
    text_field(
        words_of(t, f"sampling.{one.name}", one.name.replace("_", " ").capitalize()),
        "" if value is None else str(value),
        changed,
        type="number",
        min=f"{least:g}",
        step="1",
        placeholder=t("sampling.automatic"),
    )
