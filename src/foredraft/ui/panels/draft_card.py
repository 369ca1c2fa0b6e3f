"""The card below the list: what the chosen draft is, what it gains here, *Measure*; else what would pay."""

from __future__ import annotations

from foredraft.pair.what_pays import Verdict
from foredraft.runtime.managed_model import ModelState
from foredraft.ui.components.elements import Tag, button
from foredraft.ui.names import draft_name, gain_words, size_words
from foredraft.ui.shelf import Drafts
from foredraft.ui.state import Page


def draft_card(page: Page, state: ModelState, drafts: Drafts) -> None:
    t, measuring = page.words, page.app.measuring
    if state.draft_info is None:
        if state.status == "changing":
            Tag("progress", "", value=round(state.progress, 2), max=1, aria_label=t("spec.changing"))
            return
        verdict = page.app.shelf.verdict(state)
        if verdict.hopeless:
            with Tag("div", "").classes("fd-card warn"):
                Tag("p", t("spec.given_back", draft=verdict.hopeless))
                _would_pay(page, verdict)
        return
    draft = next((d for d in drafts.found or () if str(d.model.path) == state.draft_info.path), None)
    measured = measuring.of(state)
    slower = measured is not None and measured.gain < 1
    verdict = page.app.shelf.verdict(state)
    with Tag("div", "").classes("fd-card warn" if slower or verdict.hopeless else "fd-card good"):
        memory = t("spec.memory", m=size_words(state.draft_info.size_bytes)) if state.draft_info.size_bytes else ""
        if draft is not None:
            Tag("span", t(f"spec.level_{draft.pairing.level}")).classes("fd-chip good")
            about = " · ".join(filter(None, (t(draft.pairing.why), memory)))
            Tag("p", about).style("margin-top: 0.3rem")
        else:
            Tag("p", " · ".join(filter(None, (draft_name(state), memory))))
        running = measuring.running == measuring.pair(state)
        if measured is not None:
            words = t("spec.measured", a=f"{measured.plain:.1f}", b=f"{measured.drafted:.1f}", x=f"{measured.gain:.2g}")
            with Tag("p", ""):
                Tag("strong", words)
            if slower:
                Tag("p", t("spec.slower", x=gain_words(measured.gain)), role="alert")
        else:
            estimated = draft.gain if draft is not None else None
            words = t("spec.estimated", x=f"{estimated.speedup:.2g}") if estimated else t("spec.unmeasured")
            Tag("p", words)
        if verdict.hopeless:
            Tag("p", t("spec.cannot_pay"), role="alert")
        _would_pay(page, verdict)
        if running:
            percent = round(100 * measuring.progress)
            Tag("p", t("spec.measuring", p=percent), role="status")
            Tag("progress", "", value=percent, max=100, aria_label=t("spec.measuring", p=percent))
        else:
            again = "spec.measure_again" if measured is not None else "spec.measure"
            button(t(again), lambda: measuring.start(state), kind="quiet", disabled=bool(measuring.running))
        if measuring.error:
            Tag("p", page.error_words(measuring.error), role="alert")


def _would_pay(page: Page, verdict: Verdict) -> None:
    """What would pay here, in a list; nothing where nothing is known."""
    t = page.words
    if verdict.ways:
        Tag("p", t("spec.would_pay")).style("margin-top: 0.3rem")
        with Tag("ul", ""):
            for way in verdict.ways:
                Tag("li", t(way.why))
