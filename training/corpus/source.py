"""How a document is drawn: wordings, slots, and what is kept back for evaluation.

Two things are held out from the first document on, by rule and not by luck:

* **wordings**: a pattern line that starts with ``~`` is never used in training, and neither is
  one in sixteen of all expanded wordings (by a checksum of its text);
* **combinations**: one in ten of all slot fillings, such as a pair of numbers (by a checksum).

Training documents use neither, evaluation prompts use held-out wordings *with* held-out
combinations. Checksums, not a generator's state, decide: no order of drawing can mix them.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

Language = Literal["en", "ja"]
Item = TypeVar("Item")

_ENDING = re.compile(r"(?<=[てで])ください(?:。|$)")
_GROUP = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; role is system, user or assistant."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A conversation whose last turn is the answer that evaluation looks at.

    ``free`` marks answers with many right forms (stories, small talk): never compared exactly.
    ``check`` holds what evaluation needs beyond the text, as (kind, data).
    """

    category: str
    language: Language
    turns: tuple[Turn, ...]
    free: bool = False
    check: tuple[str, str] | None = None
    kind: str = ""

    @property
    def answer(self) -> str:
        return self.turns[-1].text


def checksum(*parts: object) -> int:
    return zlib.crc32("\x1f".join(str(part) for part in parts).encode())


def held_combination(*parts: object) -> bool:
    """Whether this filling of slots is kept for evaluation (one in ten)."""
    return checksum("combination", *parts) % 10 == 0


class Wordings:
    """The ways to ask one thing: a pattern a line, ``[a|b]`` for a choice (may be nested)."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
        self.kept = [line[1:].strip() for line in lines if line.startswith("~")]
        self.lines = [line for line in lines if not line.startswith("~")]

    def draw(self, rng: random.Random, test: bool) -> str:
        """One expanded wording, its ``{slots}`` still open."""
        if test and self.kept and rng.random() < 0.5:
            return expand(rng.choice(self.kept), rng)
        for _ in range(400):
            wording = expand(rng.choice(self.lines), rng)
            if held_wording(wording) == test:
                return wording
        if test and self.kept:
            return expand(rng.choice(self.kept), rng)
        raise ValueError(f"no {'held-out' if test else 'training'} wording in {self.lines[:2]}")


def held_wording(wording: str) -> bool:
    return checksum("wording", wording) % 16 == 0


def expand(pattern: str, rng: random.Random) -> str:
    """Choose inside every ``[a|b]``, innermost first."""
    while "[" in pattern:
        pattern = _GROUP.sub(lambda m: rng.choice(m.group(1).split("|")), pattern)
    return pattern


_BEFORE = {
    "en": (
        "Please answer: ", "Hi! ", "Hello. ", "Quick question: ", "I have a question. ", "Can you help me? ",
        "Tell me, please: ", "One more thing: ", "OK, ", "Hey, ", "So, ", "I wonder: ", "Question: ",
        "Help me with this: ", "Next: ", "For my homework: ", "My teacher asks: ", "I need this for school. ",
        "A friend wants to know: ", "I am learning. ", "For a test: ", "I am curious. ", "This is for work: ",
        "My son asked me this: ", "I forgot it. ", "Just for fun: ", "Good morning! ", "Here is a task for you: ",
        "It is late, but one question: ", "Maybe you can help: ", "I would like to know this: ", "Dear model, ",
    ),
    "ja": (
        "すみません、", "質問です。", "教えてください。", "こんにちは。", "ねえ、", "では、", "お願いします。",
        "ちょっと聞きたいのですが、", "次の質問です。", "ところで、", "あの、", "質問があります。", "一つ聞きます。",
        "助けてください。", "問題です。", "学校で必要です。", "先生に聞かれました。", "友だちが知りたがっています。",
        "勉強しています。", "テストのためです。", "気になります。", "仕事で使います。", "子どもに聞かれました。",
        "忘れてしまいました。", "ちょっとした質問です。", "おはようございます。", "お仕事です。", "急いでいます。",
        "知りたいことがあります。", "手伝ってほしいです。",
    ),
}  # fmt: skip
_AFTER = {
    "en": (" Thanks!", " Please.", " Thank you.", " Thanks in advance.", " I need it today.", " That would help me."),
    "ja": ("お願いします。", "よろしくお願いします。", "ありがとう。", "頼みます。", "助かります。"),
}
_POLITE = ("もらえますか?", "くれますか?", "いただけますか?", "ほしいです。", "もらえると助かります。")


@dataclass(slots=True)
class Source:
    """One draw of randomness, in one language, for training or for evaluation."""

    rng: random.Random
    language: Language
    test: bool = False
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def english(self) -> bool:
        return self.language == "en"

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self.rng.random() * len(items))]

    def some(self, items: Sequence[Item], count: int) -> list[Item]:
        return self.rng.sample(list(items), count)

    def number(self, low: int, high: int) -> int:
        return low + int(self.rng.random() * (high - low + 1))

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def fits(self, *combination: object) -> bool:
        """Whether this combination belongs to the split that is being drawn."""
        return held_combination(*combination) == self.test

    def say(self, wordings: dict[Language, Wordings], /, bare: bool = False, **slots: object) -> str:
        """A wording with its slots filled and, often, words around it.

        ``bare`` wordings carry a text of their own, often at their end: they get words before
        them at most. Every fourth Japanese request is said in another polite form.
        """
        wording = wordings[self.language].draw(self.rng, self.test)
        if not self.english and "ください" in wording and self.chance(0.25):
            wording = _ENDING.sub(lambda _: self.pick(_POLITE), wording, count=1)
        text = wording.format_map(slots)
        if self.chance(0.85 if bare else 0.65):
            return text
        if bare or self.chance(0.75):
            return self.pick(_BEFORE[self.language]) + text
        if self.english or text.endswith(("。", "?", "？", "」")):
            return text + self.pick(_AFTER[self.language])
        return text

    def form(self, pattern: str) -> str:
        """A free choice inside an answer: ``[a|b]`` expanded."""
        return expand(pattern, self.rng)


def both(en: str, ja: str) -> dict[Language, Wordings]:
    return {"en": Wordings(en), "ja": Wordings(ja)}


def ask(
    category: str,
    source: Source,
    question: str,
    answer: str,
    *,
    kind: str = "",
    free: bool = False,
    check: tuple[str, str] | None = None,
) -> Document:
    """The common case: one question, one answer."""
    turns = (Turn("user", question), Turn("assistant", answer))
    return Document(category, source.language, turns, free=free, check=check, kind=kind)
