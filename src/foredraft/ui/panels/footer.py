"""The line at the bottom: the mode, the engine, memory, the address."""

from __future__ import annotations

from nicegui import ui

from foredraft.ui.components.elements import Tag
from foredraft.ui.names import gigabytes
from foredraft.ui.panels.preferences import change
from foredraft.ui.state import MODES, Page


def footer(page: Page) -> None:
    t = page.words

    @ui.refreshable
    def facts() -> None:
        import psutil

        memory = psutil.virtual_memory()
        used, total = gigabytes(memory.total - memory.available), gigabytes(memory.total)
        Tag("span", t("footer.memory", used=used, total=total)).classes("fact wide-only")

    with Tag("footer", "").classes("fd-foot"):
        with Tag("div", "", role="group", aria_label=t("modes.label")).classes("fd-seg"):
            for mode in MODES:
                made = Tag("button", t(f"modes.{mode}"), type="button", aria_pressed=str(mode == page.mode).lower())
                made.on("click", lambda _, mode=mode: change(page, "mode", mode), args=[])
        Tag("span", "llama.cpp").classes("fact wide-only")
        Tag("div", "").classes("grow")
        facts()
        if page.developer:
            with Tag("span", "").classes("fact wide-only"):
                settings = page.app.services.settings
                Tag("span", f"{settings.host}:{settings.port}/v1")
    page.refreshers["footer"] = facts.refresh
