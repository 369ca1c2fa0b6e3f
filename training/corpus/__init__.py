"""The corpus: seeded, generated from templates of our own, in English and Japanese.

``documents(seed)`` draws training documents for ever; ``prompts(...)`` draws evaluation
documents that no training document can equal (see ``source``). No text comes from elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from . import arithmetic, calendar, code, copying, facts, language_work, stories, structure, talk, turns
from .source import Document, Language, Source, Turn

__all__ = ["BUILDERS", "Document", "Language", "Source", "Turn", "documents", "prompts"]

# Builder and share of documents. Sums (with differences), copying (with replacing and sorting)
# and follow-ups get more than their number of kinds would; code is learnt quickly and gets less.
BUILDERS: dict[str, tuple[Callable[[Source], Document], float]] = {
    "sums": (arithmetic.build, 23),
    "facts": (facts.build, 17),
    "calendar": (calendar.build, 6),
    "code": (code.build, 4),
    "structure": (structure.build, 11),
    "copying": (copying.build, 21),
    "stories": (stories.build, 3.5),
    "talk": (talk.build, 7),
    "language": (language_work.build, 6),
    "follow-up": (turns.follow_up, 10),
    "system": (turns.system, 8.5),
    "long chat": (turns.long_chat, 3),
}


def documents(seed: int) -> Iterator[Document]:
    """Training documents without end; the same seed gives the same documents."""
    rng = random.Random(seed)
    builders = [builder for builder, _ in BUILDERS.values()]
    shares = [share for _, share in BUILDERS.values()]
    while True:
        language: Language = "en" if rng.random() < 0.5 else "ja"
        yield rng.choices(builders, shares)[0](Source(rng, language))


def prompts(seed: int, name: str, count: int, language: Language | None = None) -> list[Document]:
    """Evaluation documents of one builder: held-out wordings and combinations, no duplicates."""
    rng = random.Random(f"evaluation {seed} {name}")
    seen: set[tuple[Turn, ...]] = set()
    found: list[Document] = []
    for i in range(count * 50):
        if len(found) == count:
            break
        chosen: Language = language or ("en" if i % 2 else "ja")
        document = BUILDERS[name][0](Source(rng, chosen, test=True))
        if document.turns[:-1] not in seen:
            seen.add(document.turns[:-1])
            found.append(document)
    return found
