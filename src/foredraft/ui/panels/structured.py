"""The section "Structured output": answers as JSON of a schema."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from nicegui import ui

from foredraft.ui.components.elements import Tag, button, section, switch, text_field
from foredraft.ui.state import Page
from foredraft.ui.structure import EXAMPLE, Fault, fault_of, unkept

ROWS = 9


@dataclass(slots=True)
class Found:
    """What is known of the schema that was typed."""

    fault: Fault | None = None
    unkept: list[str] = field(default_factory=list)


def structured(page: Page) -> None:
    t = page.words
    found = Found()

    @ui.refreshable
    def body() -> None:
        switch(t("structured.on"), page.choices.structured, turn, data_switch="structured")
        Tag("p", t("structured.help")).classes("fd-help")
        text_field(
            t("structured.schema"), page.choices.schema, typed, area=True, on="input", rows=ROWS, spellcheck="false",
            placeholder='{"type": "object", …}', aria_describedby="fd-schema-verdict",
        ).classes("fd-schema")  # fmt: skip
        verdict()
        if not page.choices.schema.strip():
            button(t("structured.example"), example, kind="link")

    @ui.refreshable
    def verdict() -> None:
        with Tag("div", "", id="fd-schema-verdict"):
            _verdict(page, found)

    def turn(on: bool) -> None:
        page.choose(structured=on)
        page.refresh("composer")
        verdict.refresh()

    async def typed(text: str) -> None:
        page.choose(schema=text)
        await look()

    async def look() -> None:
        found.fault, found.unkept = await asyncio.to_thread(_look, page.choices.schema)
        verdict.refresh()

    async def example() -> None:
        page.choose(schema=json.dumps(EXAMPLE, indent=2), structured=True)
        page.refresh("composer")
        await look()
        body.refresh()

    with section(t("structured.title"), mark="structured", opened=page.choices.structured):
        body()
    if page.choices.schema.strip():
        ui.timer(0.01, look, once=True)


def _look(schema: str) -> tuple[Fault | None, list[str]]:
    fault = fault_of(schema)
    return fault, [] if fault is not None else unkept(schema)


def _verdict(page: Page, found: Found) -> None:
    """Whether the schema is in force, and what of it is not kept; or why it cannot be."""
    t, now, fault = page.words, page.choices, found.fault
    if fault is not None:
        if fault.line:
            words = t("structured.not_json", line=fault.line, column=fault.column, reason=fault.reason)
        elif fault.path:
            words = t("structured.fault_at", path=fault.path, reason=fault.reason)
        else:
            words = t("structured.fault", reason=fault.reason)
        Tag("p", words, role="alert").classes("fd-error")
    elif not now.schema.strip():
        Tag("p", t("structured.any")).classes("fd-help")
    else:
        words = t("structured.in_force" if now.structured else "structured.valid")
        Tag("p", words, role="status").classes("fd-help")
        for sentence in found.unkept:
            Tag("p", t("structured.unkept", what=sentence)).classes("fd-help")
