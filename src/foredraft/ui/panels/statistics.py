"""The line below an answer: how fast, how many guesses stood, what it gained."""

from __future__ import annotations

from foredraft.chats.records import Message
from foredraft.ui.components.elements import Tag
from foredraft.ui.state import Page


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
    if page.developer:
        parts.append(t("stats.stop", reason=t(f"stop.{shown.meta.get('stop_reason', 'eos')}")))
        parts.append(t("stats.rounds", n=stats["rounds"]))
        parts.append(t("stats.times", draft=f"{stats['draft_s']:.2f}", verify=f"{stats['verify_s']:.2f}"))
    with Tag("div", "").classes("fd-stats"):
        for part in parts:
            Tag("span", part)
        if page.power and stats["drafted"]:
            gain = gain_of(page, stats)
            if gain is None:
                Tag("span", t("stats.no_baseline"))
            elif gain >= 1:
                Tag("span", t("stats.gain", x=f"{gain:.2g}")).classes("gain")
            else:
                Tag("span", t("stats.loss", x=f"{gain:.2g}"))


def gain_of(page: Page, stats: dict[str, object]) -> float | None:
    """Speed against plain decoding: by the run's own measurement, else by *Measure*; None where neither knows."""
    saved, took = stats.get("saved_s"), stats.get("generation_s")
    if isinstance(saved, float) and isinstance(took, float) and took > 0:
        return max(0.0, (took + saved) / took)
    measured = page.app.measuring.of(page.app.loaded())
    speed = stats.get("tokens_per_second")
    if measured is not None and measured.plain and isinstance(speed, (int, float)):
        return float(speed) / measured.plain
    return None
