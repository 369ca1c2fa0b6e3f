"""The line at the bottom: the mode, the engine, memory, the address."""

from __future__ import annotations

from nicegui import ui

from foredraft.server.address import url
from foredraft.ui.components.elements import Tag
from foredraft.ui.names import gigabytes
from foredraft.ui.panels.preferences import change
from foredraft.ui.state import MODES, Page

LOOK_EVERY_S = 10.0
"""How often the footer looks at the memory again."""


def footer(page: Page) -> None:
    t = page.words

    with Tag("footer", "").classes("fd-foot"):
        with Tag("div", "", role="group", aria_label=t("modes.label")).classes("fd-seg"):
            for mode in MODES:
                made = Tag("button", t(f"modes.{mode}"), type="button", aria_pressed=str(mode == page.mode).lower())
                made.on("click", lambda _, mode=mode: change(page, "mode", mode), args=[])
        Tag("span", f"llama.cpp · {page.app.machine.backend}").classes("fact wide-only")
        Tag("div", "").classes("grow")
        facts = Tag("span", _memory(page)).classes("fact wide-only")
        if page.developer:
            with Tag("span", "").classes("fact wide-only"):
                settings = page.app.services.settings
                Tag("span", url(settings.host, settings.port).removeprefix("http://") + "/v1")

    def look() -> None:
        facts.set_text(_memory(page))  # sent only where it has changed

    ui.timer(LOOK_EVERY_S, look, immediate=False)
    page.refreshers["footer"] = look


def _memory(page: Page) -> str:
    """Memory of the machine, and of each GPU that the engine can use; where there is none, none is named."""
    t, machine = page.words, page.app.machine
    used, total = machine.memory()
    parts = [t("footer.memory", used=gigabytes(used), total=gigabytes(total))]
    gpus = [gpu for gpu in machine.gpus() if not gpu.shared]
    for gpu in gpus:
        name = "VRAM" if len(gpus) == 1 else f"VRAM {gpu.index}"
        parts.append(t("footer.video", name=name, used=gigabytes(gpu.total - gpu.free), total=gigabytes(gpu.total)))
    return " · ".join(parts)
