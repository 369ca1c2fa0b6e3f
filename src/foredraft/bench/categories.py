"""The prompts of the bench: our own, by category, English and Japanese in turns (`prompts/<category>.jsonl`).

They are written for the abilities of the embedded pair, in wordings that its training never saw, and any model can
answer them. To add a category, add its file and its name.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from foredraft.core.errors import ParameterError

CATEGORIES = ("maths", "facts", "code", "json", "copying", "summary", "translation", "chat", "stories")
"""From closed questions to open ones, in the order of every table."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question. `number` counts from 0 within its category."""

    category: str
    number: int
    language: str
    text: str


def prompts(categories: Sequence[str] = CATEGORIES, count: int | None = None) -> dict[str, list[Prompt]]:
    """The first `count` prompts (None: all) of each category. Raises `ParameterError` for an unknown one."""
    for name in categories:
        if name not in CATEGORIES:
            raise ParameterError("category", name, f"one of {', '.join(CATEGORIES)}")
    if count is not None and count < 1:
        raise ParameterError("prompts", count, "a whole number of at least 1")
    return {name: _read(name)[:count] for name in dict.fromkeys(categories)}


def _read(category: str) -> list[Prompt]:
    text = resources.files(__package__).joinpath("prompts", f"{category}.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [Prompt(category, i, row["language"], row["prompt"]) for i, row in enumerate(rows)]
