# ruff: noqa: SIM905 - word lists are easier to read as text
"""Parallel sentences in both languages: material for translating, copying and summarising."""

from __future__ import annotations

from dataclasses import dataclass

from .source import Source
from .vocabulary import ANIMALS, COLORS, DAYS_EN, DAYS_JA, NAMES, PLACES, THINGS


@dataclass(frozen=True, slots=True)
class Verb:
    """Third person, base form, past; Japanese polite present and past with particle."""

    en: str
    base: str
    past: str
    ja: str
    ja_past: str


def _verbs(text: str) -> tuple[Verb, ...]:
    return tuple(Verb(*part.split("/")) for part in text.split())


ACTIONS = _verbs(  # verb + thing
    "buys/buy/bought/を買います/を買いました sees/see/saw/を見ます/を見ました "
    "finds/find/found/を見つけます/を見つけました sells/sell/sold/を売ります/を売りました "
    "takes/take/took/を取ります/を取りました likes/like/liked/が好きです/が好きでした "
    "draws/draw/drew/を描きます/を描きました brings/bring/brought/を持ってきます/を持ってきました "
    "washes/wash/washed/を洗います/を洗いました wants/want/wanted/が欲しいです/が欲しかったです "
    "opens/open/opened/を開けます/を開けました loses/lose/lost/をなくします/をなくしました"
)
PEOPLE = tuple(
    (e, j)
    for e, j in (
        p.split("/")
        for p in (
            "Tom/トム Anna/アンナ Ben/ベン Mary/メアリー Paul/ポール Emma/エマ Leo/レオ "
            "Rosa/ローザ Sam/サム Alice/アリス Henry/ヘンリー Julia/ジュリア"
        ).split()
    )
)
ADVERBS = (
    ("today", "今日", True),
    ("every day", "毎日", True),
    ("yesterday", "昨日", False),
    ("this morning", "今朝", False),
    ("last week", "先週", False),
    ("now", "今", True),
)


def pair(s: Source) -> tuple[str, str]:
    """One sentence as (English, Japanese)."""
    form = s.number(0, 4)
    thing, place, animal = s.pick(THINGS), s.pick(PLACES), s.pick(ANIMALS)
    color_en, color_ja = s.pick(COLORS)
    who_en, who_ja = s.pick(PEOPLE)
    if form == 0:
        verb = s.pick(ACTIONS)
        when_en, when_ja, present = s.pick(ADVERBS)
        if s.chance(0.4):
            return (f"{who_en} {verb.en} {thing.a}.", f"{who_ja}は{thing.ja}{verb.ja}。")
        return (
            f"{who_en} {verb.en if present else verb.past} {thing.a} {when_en}.",
            f"{when_ja}、{who_ja}は{thing.ja}{verb.ja if present else verb.ja_past}。",
        )
    if form == 1:
        return (f"The {thing.en} is {color_en}.", f"{thing.ja}は{_predicate(color_ja)}です。")
    if form == 2:
        return (f"The {color_en} {animal.en} is in the {place.en}.", f"{color_ja}{animal.ja}が{place.ja}にいます。")
    if form == 3:
        i = s.number(0, 6)
        return (f"{who_en} goes to the {place.en} on {DAYS_EN[i]}.", f"{who_ja}は{DAYS_JA[i]}に{place.ja}へ行きます。")
    n = s.number(2, 9)
    return (f"There are {n} {thing.plural} in the {place.en}.", f"{place.ja}に{thing.ja}が{n}個あります。")


def _predicate(color: str) -> str:
    return color


def plain(s: Source) -> str:
    """A sentence in the source's language, for copying."""
    en, ja = pair(s)
    if s.chance(0.3):
        a, b = s.pick(NAMES[s.language]), s.pick(NAMES[s.language])
        thing, place = s.pick(THINGS), s.pick(PLACES)
        if s.english:
            return f"{a} gave {b} {thing.a} at the {place.en}."
        return f"{a}は{place.ja}で{b}に{thing.ja}をあげました。"
    return en if s.english else ja


def salad(s: Source, count: int) -> list[str]:
    """Words in no order: material that cannot be copied by guessing."""
    nouns = THINGS + ANIMALS + PLACES
    out = []
    for _ in range(count):
        n = s.pick(nouns)
        out.append(n.en if s.english else n.ja)
    return out
