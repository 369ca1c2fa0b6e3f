"""The lab: measure the loaded pair kind by kind of text, see it grow, keep and export the runs."""

from __future__ import annotations

import datetime as dt
import json

from nicegui import ui

from foredraft.ui.components import charts
from foredraft.ui.components.elements import Tag, button, table
from foredraft.ui.frame import begin, frame, notices, page_head
from foredraft.ui.laboratory import LabRun
from foredraft.ui.names import draft_name, gain_words
from foredraft.ui.state import AppState, Page


def register(app: AppState) -> None:
    @ui.page("/lab", response_timeout=20)
    def lab() -> None:
        lab_page(app)


def lab_page(app: AppState) -> None:
    page = begin(app, "rail.lab")
    t = page.words
    with frame(page, "lab", classes="no-list no-side", skip_to="fd-page"), Tag("div", "").classes("fd-main"):
        notices(page)
        with Tag("div", "", id="fd-page", tabindex="-1").classes("fd-page"), Tag("div", "").classes("fd-page-in"):
            page_head(page, t("lab.title"))
            Tag("p", t("lab.help")).classes("fd-help")
            content = ui.refreshable(lambda: _content(page))
            content()
    page.refreshers["lab"] = content.refresh
    page.refreshers["models"] = content.refresh


def _content(page: Page) -> None:
    t, lab, state = page.words, page.app.laboratory, page.app.loaded()

    def stop() -> None:
        lab.stop()
        page.refresh("lab")

    def start() -> None:
        if state is not None:
            lab.start(state)
        page.refresh("lab")

    if state is None or state.info is None:
        Tag("p", t("spec.no_main"), role="status")
    elif lab.busy:
        button(t("lab.stop"), stop, kind="quiet")
    else:
        if not draft_name(state):
            Tag("p", t("lab.no_draft"), role="status").classes("fd-help")
        button(t("lab.start"), start, kind="primary", icon_name="speed")
    if page.app.machine.busy():
        Tag("p", t("lab.busy"), role="status").classes("fd-card warn")
    if lab.current is not None:
        _run(page, lab.current)
    history = lab.history()
    if history:
        Tag("h2", t("lab.history"))
        rows = [(_when(run), run.model, run.draft or "–", len(run.rows), gain_words(_mean(run))) for run in history]
        head = [t(f"lab.{name}") for name in ("when", "model", "draft", "kinds", "gain")]
        with Tag("div", "", tabindex="0", role="region", aria_label=t("lab.history")).classes("fd-scroll-x"):
            table(head, rows, numbers_from=3, caption=t("lab.history"))
        text = json.dumps([run.as_dict() for run in history], ensure_ascii=False, indent=1)
        button(t("lab.export"), lambda: ui.download.content(text, "foredraft-lab.json"), kind="quiet")


def _run(page: Page, run: LabRun) -> None:
    t = page.words
    if run.state == "running":
        words = t("lab.running", p=round(100 * run.share))
        Tag("p", words, role="status").classes("fd-help")
        Tag("progress", "", value=round(run.share, 2), max=1, aria_label=words)
    if run.error:
        Tag("div", run.error, role="alert").classes("fd-error")
    if not run.rows:
        return
    labels = [
        t(f"lab.category_{row.category}") if f"lab.category_{row.category}" in t else row.category for row in run.rows
    ]
    with Tag("div", "").style("max-width: 24rem"):
        shares = [row.accepted / row.tested if row.tested else None for row in run.rows]
        charts.rows(
            t("lab.acceptance"),
            labels,
            shares,
            show=t("insights.table"),
            head=(t("lab.kind"), t("insights.acceptance")),
        )
    rows = [
        (label, f"{row.plain:.1f}", f"{row.drafted:.1f}", gain_words(row.gain), t("lab.yes" if row.same else "lab.no"))
        for label, row in zip(labels, run.rows, strict=True)
    ]
    head = [t(f"lab.{name}") for name in ("kind", "plain", "drafted", "gain", "same")]
    with Tag("div", "", tabindex="0", role="region", aria_label=t("lab.title")).classes("fd-scroll-x"):
        table(head, rows, caption=t("lab.title"))


def _mean(run: LabRun) -> float:
    """Tokens of all rows over their time, with against without."""
    plain = sum(1 / row.plain for row in run.rows if row.plain)
    drafted = sum(1 / row.drafted for row in run.rows if row.drafted)
    return plain / drafted if drafted else 0.0


def _when(run: LabRun) -> str:
    return dt.datetime.fromtimestamp(run.began).astimezone().strftime("%Y-%m-%d %H:%M")
