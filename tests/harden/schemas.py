"""Schemas and grammars that lead deep, wide or nowhere: a grammar, or a typed error."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from foredraft.grammars.constraints import GrammarConstraint, GrammarError, json_grammar, lark_grammar
from tests.grammars.test_limits import vocabulary
from tests.harden.chains import CHAINS
from tests.harden.tally import Tally


def run(tally: Tally, draw: random.Random) -> None:
    words = vocabulary()
    for name, form, content in _contents(draw):
        if not tally.begin(name):
            return
        try:
            grammar = json_grammar(content) if form == "schema" else lark_grammar(content)
            constraint = GrammarConstraint(words, grammar)
            constraint.allowed(())
            constraint.forced()
            tally.end("works", seconds=30)
        except GrammarError:
            tally.end("refused", seconds=30)
        except Exception as error:  # noqa: BLE001 - what is looked for
            tally.fail(repr(error))


def _contents(draw: random.Random) -> Iterator[tuple[str, str, Any]]:
    for size in (500, 1_000, 3_000, 20_000, 100_000):
        for name, kind in CHAINS.items():
            yield f"{name} × {size}", *kind(size)
    for number in itertools.count():
        yield f"random {number}", "schema", _schema(draw, 4)


def _schema(draw: random.Random, depth: int) -> Any:
    kinds = ["string", "integer", "number", "boolean", "null", "const", "enum", "pattern", "odd"]
    kind = draw.choice([*kinds, *(["object", "array", "anyOf", "allOf", "ref"] * 2 if depth else [])])
    inner = depth - 1
    if kind == "object":
        names = [draw.choice("abcdefg") * draw.randrange(1, 9) for _ in range(draw.randrange(6))]
        return {"type": "object", "properties": {name: _schema(draw, inner) for name in names}, "required": names[:2]}
    if kind == "array":
        return {"type": "array", "items": _schema(draw, inner), "maxItems": draw.choice((0, 3, 10**6))}
    if kind in ("anyOf", "allOf"):
        return {kind: [_schema(draw, inner) for _ in range(draw.randrange(1, 5))]}
    if kind == "ref":
        return {"$defs": {"a": _schema(draw, inner)}, "$ref": draw.choice(("#/$defs/a", "#", "#/$defs/b", "x"))}
    if kind == "const":
        return {"const": draw.choice((1, "x" * 999, None, [1, [2]], {"a": 0}))}
    if kind == "enum":
        return {"enum": [f"{draw.random()}" for _ in range(draw.choice((0, 3, 2000)))]}
    if kind == "pattern":
        patterns = ("^a+$", "((((a*)*)*)*)*", "(a{1,99}){1,99}", "[^x]{0,9999}", "(", "\\p{L}+", "(?=a)b", "a{999999}")
        return {"type": "string", "pattern": draw.choice(patterns)}
    if kind == "odd":
        return draw.choice((True, False, {}, 3, None, {"type": ["string", "null"]}, {"type": 5}, {"items": 3}))
    limits = {
        "string": ("minLength", "maxLength"),
        "integer": ("minimum", "maximum"),
        "number": ("minimum", "multipleOf"),
    }
    keys = limits.get(kind, ())
    return {"type": kind, **{key: draw.choice((0, -1, 7, 10**9, 0.1, 10**30)) for key in keys if draw.random() < 0.5}}
