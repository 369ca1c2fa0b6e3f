"""The sidebar: settings of the chat, and insights into its answers."""

from __future__ import annotations

from nicegui import ui

from foredraft.ui.choices import USUAL
from foredraft.ui.components.elements import Tag, section, slider, text_field
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


def _sampling(page: Page) -> None:
    t, now = page.words, page.choices
    with section(t("sampling.title"), mark="sampling"):
        for name, low, high, step in (
            ("temperature", 0, 2, 0.05),
            ("top_p", 0, 1, 0.01),
            ("min_p", 0, 1, 0.01),
            ("repeat_penalty", 1, 2, 0.01),
        ):
            slider(
                t(f"sampling.{name}"),
                getattr(now, name),
                lambda value, name=name: page.choose(**{name: value}),  # type: ignore[misc]
                low=low,
                high=high,
                step=step,
                help_text=t(f"sampling.{name}_help"),
            )
        _number(page, "top_k", now.top_k)
        _number(page, "max_tokens", now.max_tokens)
        _number(page, "seed", now.seed)


def _number(page: Page, name: str, value: int | None) -> None:
    """A whole number that may be left empty."""
    t = page.words

    def changed(text: str) -> None:
        if not text.strip():
            page.choose(**{name: USUAL.top_k if name == "top_k" else None})
        elif text.strip().isdigit():
            page.choose(**{name: int(text)})

    shown = "" if value is None else str(value)
    text_field(
        t(f"sampling.{name}"), shown, changed, type="number", min="0", step="1", placeholder=t("sampling.automatic")
    )
