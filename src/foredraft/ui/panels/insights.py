"""Insights: what speculation did for this answer, and for this chat."""

from __future__ import annotations

import itertools
import json
from typing import Any

from nicegui import ui

from foredraft.chats.records import Message
from foredraft.core.reasons import stored_reason
from foredraft.ui.components import charts
from foredraft.ui.components.elements import Tag, button
from foredraft.ui.state import Page

WINDOW = 8
"""Rounds averaged in one point of the depth chart."""


def insights(page: Page) -> None:
    t = page.words
    answers = [m for m in page.app.chats.messages(page.chat_id) if m.meta.get("stats")] if page.chat_id else []
    with Tag("div", "").classes("fd-section-body").style("padding-top: 0.9rem"):
        if not answers:
            Tag("p", t("insights.none")).classes("fd-help")
            return
        last = answers[-1]
        Tag("h2", t("insights.answer")).style("font-size: 0.95rem")
        _figures(page, last.meta["stats"])
        _charts(page, last)
        Tag("h2", t("insights.chat", n=len(answers))).style("font-size: 0.95rem")
        _figures(page, whole([m.meta["stats"] for m in answers]))
        if page.developer:
            _events(page, last)
            text = json.dumps({"stats": last.meta["stats"], "events": last.meta.get("events", [])}, indent=1)
            button(
                t("insights.copy"),
                lambda: ui.run_javascript(
                    f"fd.copyText({json.dumps(text)}); fd.announce({json.dumps(t('message.copied'))})"
                ),
                kind="quiet",
            )


def whole(stats: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several answers together: counts are added, shares are made from the sums."""
    names = ("tokens", "rounds", "accepted", "rejected", "drafted", "generation_s")
    total: dict[str, Any] = {name: sum(one[name] for one in stats) for name in names}
    tested = total["accepted"] + total["rejected"]
    return {
        **total,
        "tokens_per_second": total["tokens"] / total["generation_s"] if total["generation_s"] else 0.0,
        "acceptance": total["accepted"] / tested if tested else None,
        "tokens_per_round": total["tokens"] / total["rounds"] if total["rounds"] else 0.0,
        "time_to_first_token_s": sum(one["time_to_first_token_s"] for one in stats) / len(stats),
    }


def _figures(page: Page, stats: dict[str, Any]) -> None:
    t, share = page.words, stats["acceptance"]
    with Tag("dl", "").classes("fd-figures").style("margin: 0"):
        for name, value in (
            ("speed", t("stats.speed", tps=f"{stats['tokens_per_second']:.0f}")),
            ("acceptance", "–" if share is None else f"{share:.0%}"),
            ("first_token", t("insights.seconds", s=f"{stats['time_to_first_token_s']:.2f}")),
            ("tokens_per_round", f"{stats['tokens_per_round']:.1f}"),
        ):
            hint = t("insights.acceptance_help") if name == "acceptance" else None
            with Tag("div", "", title=hint).classes("fd-figure"):
                Tag("dt", t(f"insights.{name}"))
                number, _, unit = value.partition(" ")
                with Tag("dd", ""):
                    Tag("span", number)
                    if unit:
                        Tag("small", unit)


def _charts(page: Page, answer: Message) -> None:
    t, stats = page.words, answer.meta["stats"]
    show = t("insights.table")
    shares = stats["acceptance_by_position"]
    if shares:
        labels = [f"#{n}" for n in range(1, len(shares) + 1)]
        head = (t("insights.position"), t("insights.acceptance"))
        charts.bars(t("insights.by_position"), labels, shares, show=show, head=head)
        Tag("p", t("insights.by_position_help")).classes("fd-help")
    points = speeds(answer.meta.get("timeline", []))
    if len(points) > 1:
        charts.line(t("insights.speed_over_time"), points, show=show, head=(t("insights.time"), t("insights.speed")))
    if page.developer:
        depth = depths(answer.tokens)
        if len(depth) > 1:
            head = (t("insights.round"), t("insights.tokens_per_round"))
            charts.line(t("insights.depth"), depth, show=show, head=head, unit="")
    parts = [(t(f"insights.time_{name}"), stats[f"{name}_s"]) for name in ("draft", "verify", "other")]
    charts.stack(t("insights.times"), parts, show=show, head=(t("insights.part"), t("insights.time")))


def speeds(timeline: list[list[float]]) -> list[tuple[float, float]]:
    """Tokens a second between samples of (seconds, tokens)."""
    points = []
    for (t0, n0), (t1, n1) in itertools.pairwise(timeline):
        if t1 - t0 > 0.05:
            points.append((t1, (n1 - n0) / (t1 - t0)))
    return points


def depths(tokens: list[list[Any]]) -> list[tuple[float, float]]:
    """Tokens a round, averaged over windows: a round ends with each token that is the main model's own."""
    rounds, length = [], 0
    for token in tokens:
        length += 1
        if token[1] != "a":
            rounds.append(length)
            length = 0
    size = max(1, len(rounds) // 40) if len(rounds) > WINDOW else 1
    size = max(size, 1 if len(rounds) < 2 * WINDOW else WINDOW)
    return [
        (float(start + 1), sum(rounds[start : start + size]) / len(rounds[start : start + size]))
        for start in range(0, len(rounds), size)
    ]


def _events(page: Page, answer: Message) -> None:
    t = page.words
    Tag("h3", t("insights.events")).style("font-size: 0.875rem")
    events = answer.meta.get("events", [])
    speculation = answer.meta.get("speculation", {})
    lines = [f"{at:6.2f} s  {t(f'spec.status_{status}')}  {_said(page, reason)}" for at, status, reason in events]
    status, reason = speculation.get("status", "off"), speculation.get("why") or speculation.get("reason")
    lines.append(f"{t('insights.at_end')}  {t('spec.status_' + status)}  {_said(page, reason)}".rstrip())
    Tag("pre", "\n".join(lines), tabindex="0", aria_label=t("insights.events")).classes("fd-log")


def _said(page: Page, stored: object) -> str:
    reason = stored_reason(stored)
    return page.words(reason) if reason is not None else ""
