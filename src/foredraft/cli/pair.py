"""`foredraft pair MAIN [DRAFT…]`: which drafts fit a model, why or why not, and what they bring."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli.models import Json, ModelName, complete_model, draft_words, shelf
from foredraft.cli.tables import Styled, print_table
from foredraft.cli.words import t
from foredraft.words import Words, languages
from foredraft.words import words as words_of

if TYPE_CHECKING:
    from foredraft.core.reasons import Reason
    from foredraft.models.cache import Measured
    from foredraft.models.pairing import Pairing
    from foredraft.models.store import ModelFile, ModelStore
    from foredraft.pair.what_pays import Way

STYLES = {"recommended": "green", "no_gain": "dim", "not_usable": "dim"}
"""Levels that are not in the terminal's own colour."""


def pair(
    main: ModelName,
    drafts: Annotated[
        list[str] | None,
        typer.Argument(help="Drafts to look at; without any, every other model.", autocompletion=complete_model),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Load the pair and measure it (about 20 s a draft).")
    ] = False,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to measure.", min=1.0)] = 20.0,
    force: Annotated[
        bool, typer.Option("--force", help="Overrule what costs only speed; never an id out of range.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Say which drafts fit a main model, with reasons and numbers."""
    from foredraft.models.memory import LoadPlan, memory_check
    from foredraft.models.recommend import gain

    store = shelf()
    found = store.find(main)
    if measure or found.facts is None or found.facts.kind != "vocabulary":  # a vocabulary alone can be compared
        found = store.require(main)
    check = memory_check(LoadPlan())
    if drafts:
        named = [store.draft_named(found, name) for name in drafts]
        verdicts = [(draft, store.pair(found, draft, force=force, memory=check)) for draft in named]
    else:
        verdicts = [
            (draft, store.pair(found, draft, force=True, memory=check) if force else pairing)
            for draft, pairing in store.drafts(found, memory=check)
        ]
    if measure:
        for draft, pairing in verdicts:
            if pairing.usable:
                _measure(store, found, draft, seconds, force=force, quiet=json_output)
    rows = []
    for draft, pairing in verdicts:
        measured = store.measured(found, draft) if pairing.usable else None
        expected = gain(found, draft) if pairing.usable else None
        rows.append((draft, pairing, expected.speedup if expected is not None else None, measured))
    would_pay = _would_pay(store, found, rows)
    if json_output:
        said = {"main": found.name, "drafts": [_json(*row) for row in rows]}
        print(json.dumps({**said, "would_pay": [_way_json(way) for way in would_pay]}, ensure_ascii=False, indent=2))
        return
    words = t()
    _print(found, rows, words)
    if would_pay:
        print(words("cli.would_pay"))
    for way in would_pay:
        print(f"- {words(way.why)}")


def _would_pay(
    store: ModelStore, main: ModelFile, rows: list[tuple[ModelFile, Pairing, float | None, Measured | None]]
) -> list[Way]:
    """What would pay, where drafts were measured and none of them does."""
    from foredraft.models.recommend import WORTH_IT

    measured = [(known.speedup, draft.name, draft) for draft, _, _, known in rows if known is not None]
    if not measured or max(measured)[0] >= WORTH_IT:
        return []
    from foredraft.config.folders import cache_folder
    from foredraft.pair.what_pays import ways

    return ways(main, max(measured)[2], store, cache_folder() / "tuning")


def _print(main: ModelFile, rows: list[tuple[ModelFile, Pairing, float | None, Measured | None]], words: Words) -> None:
    from foredraft.models.recommend import missing_draft
    from foredraft.pair.files import ADVICE

    print_table(
        [words(f"cli.pair.{column}") for column in ("draft", "verdict", "why", "speed_up")],
        [
            (
                draft_words(draft),
                _level("no_gain" if pairing.code in ADVICE else pairing.level, words),
                words(pairing.why),
                _speedup(expected, measured, words),
            )
            for draft, pairing, expected, measured in rows
        ],
        right=frozenset({3}),
        prose=frozenset({2}),
    )
    for draft, pairing, _, _ in rows:
        if pairing.forced:
            print(words("cli.pair.forced", draft=draft.name, why=pairing.reason), file=sys.stderr)
    if not any(pairing.usable for _, pairing, _, _ in rows):
        wanted = missing_draft(main)
        if wanted is not None:
            print(words("cli.pair.get", model=wanted.name), file=sys.stderr)


def _level(level: str, words: Words) -> Styled:
    return Styled(words(f"spec.level_{level}"), STYLES.get(level, ""))


def _speedup(expected: float | None, measured: Measured | None, words: Words) -> str:
    if measured is not None:
        return words("cli.pair.measured", x=measured.speedup, low=measured.low, high=measured.high)
    return words("cli.pair.estimated", x=expected) if expected is not None else "–"


def _way_json(way: Way) -> dict[str, Any]:
    told = asdict(way)
    return {**told, "why": way.why.told(), "reasons": _in_all_languages(way.why)}


def _in_all_languages(reason: Reason) -> dict[str, str]:
    return {language: words_of(language)(reason) for language in languages()}


def _json(draft: ModelFile, pairing: Pairing, expected: float | None, measured: Measured | None) -> dict[str, Any]:
    return {
        "draft": draft.name,
        "level": pairing.level,
        "usable": pairing.usable,
        "forced": pairing.forced,
        "code": pairing.code,
        "why": pairing.why.told(),
        "reasons": _in_all_languages(pairing.why),
        "numbers": pairing.reason.as_dict()["numbers"],
        "size_bytes": draft.size_bytes,
        "expected_speedup": round(expected, 3) if expected is not None else None,
        "measured_speedup": None
        if measured is None
        else {
            "speedup": measured.speedup,
            "low": measured.low,
            "high": measured.high,
            "plain_speed": measured.plain_speed,
            "draft_speed": measured.draft_speed,
            "when": measured.when,
        },
    }


def _measure(store: ModelStore, main: ModelFile, draft: ModelFile, seconds: float, *, force: bool, quiet: bool) -> None:
    """Load the pair, measure it and keep the result. Raises `ForedraftError` when it cannot be loaded."""
    from rich.console import Console
    from rich.progress import Progress

    from foredraft.bench.pair import measure_pair
    from foredraft.pair.llm import LLM

    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True) as bar:
        words = t()("cli.pair.measuring", draft=draft.name, size=draft.size_bytes)
        task = bar.add_task(words, total=1.0)
        with LLM.load(main.path, draft.path, draft_required=True, force=force) as llm:
            last = None
            for last in measure_pair(llm, seconds):
                bar.update(task, completed=last.share)
    if last is not None and last.speedup is not None:
        store.remember_measured(main, draft, _kept(last))


def _kept(last: Any) -> Measured:
    from datetime import UTC, datetime

    from foredraft.models.cache import Measured

    return Measured(
        speedup=last.speedup,
        low=last.low,
        high=last.high,
        plain_speed=last.plain_speed,
        draft_speed=last.draft_speed,
        when=datetime.now(UTC).date().isoformat(),
    )
