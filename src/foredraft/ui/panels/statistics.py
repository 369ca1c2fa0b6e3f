"""The line below an answer: how fast, how many guesses stood, what it gained."""

from __future__ import annotations

from foredraft.chats.records import Message
from foredraft.ui.components.elements import Tag
from foredraft.ui.state import Page

SHORTEST_S = 0.25
"""An answer written in less says nothing about speed: the machine's other work decides what its clock shows."""


def statistics_line(page: Page, shown: Message) -> None:
    t, stats = page.words, shown.meta.get("stats")
    if not stats:
        return
    parts = [t("stats.speed", tps=f"{stats['tokens_per_second']:.1f}")]
    if page.power:
        parts.append(t("stats.tokens", n=stats["tokens"]))
        parts.append(t("stats.first", t=f"{stats['time_to_first_token_s']:.2f}"))
        tested = stats["accepted"] + stats["rejected"]
        if stats["drafted"]:
            share = round(100 * stats["accepted"] / tested) if tested else 0
            parts.append(t("stats.drafts", a=stats["accepted"], d=tested, p=share))
        elif shown.meta.get("speculation", {}).get("status") == "paused":
            parts.append(t("stats.paused"))
    if page.developer:
        parts.append(t("stats.stop", reason=t(f"stop.{shown.meta.get('stop_reason', 'eos')}")))
        parts.append(t("stats.rounds", n=stats["rounds"]))
        parts.append(t("stats.times", draft=f"{stats['draft_s']:.2f}", verify=f"{stats['verify_s']:.2f}"))
    with Tag("div", "").classes("fd-stats"):
        for part in parts:
            Tag("span", part)
        if page.power and stats["drafted"]:
            words, good = _gain_words(page, stats)
            Tag("span", words).classes("gain" if good else "")


def _gain_words(page: Page, stats: dict[str, object]) -> tuple[str, bool]:
    """What the draft brought, in words, and whether that is certainly good."""
    t, gain = page.words, gain_of(page, stats)
    if gain is None:
        return t("stats.no_baseline"), False
    took, error = stats.get("generation_s"), stats.get("saved_error_s")
    doubt = error / took if isinstance(error, float) and isinstance(took, float) and took >= SHORTEST_S else 0.0
    if abs(gain - 1) <= max(doubt, 0.02):
        return t("stats.same"), False
    return t("stats.gain" if gain > 1 else "stats.loss", x=f"{gain:.2g}"), gain > 1


def gain_of(page: Page, stats: dict[str, object]) -> float | None:
    """Speed against plain decoding: by the run's own measurement, else (also where the run was too short to say) by
    *Measure*; None where neither knows."""
    saved, took = stats.get("saved_s"), stats.get("generation_s")
    if isinstance(saved, float) and isinstance(took, float) and took >= SHORTEST_S:
        return max(0.0, (took + saved) / took)
    measured = page.app.measuring.of(page.app.loaded())
    return measured.gain if measured is not None and measured.plain else None
