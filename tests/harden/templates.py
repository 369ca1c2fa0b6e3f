"""Templates that try to get out, or to take all time and memory: a text, or a typed error."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from foredraft.core.errors import TemplateError
from foredraft.models.template import MAX_SECONDS, render
from tests.harden.tally import Tally
from tests.models.test_template import BOMBS, ESCAPES

_MESSAGES = [{"role": "user", "content": "Hello " * 50}]
_VALUES = [
    "messages",
    "'x' * 9999",
    "range(9999)",
    "[1] * 9999",
    "{'a': messages}",
    "10 ** 99",
    "none",
    "-1",
    "''",
    "0.1",
]
_FILTERS = [
    "tojson", "pprint", "list", "join", "sort", "sum(start=[])", "string", "length", "upper", "unique", "reverse",
    "batch(3)", "slice(3)", "map('string')", "tojson(indent=99)", "wordwrap(2)", "center(9999)",
    "replace('x', 'yyyyy')", "format(1, 2)", "urlize", "xmlattr", "dictsort", "groupby(0)", "indent(999)",
    "striptags", "select('in', [1])", "attr('__class__')", "random", "first", "items", "round(2)", "truncate(9)",
    "default([1])", "trim", "int", "float",
]  # fmt: skip


def run(tally: Tally, draw: random.Random) -> None:
    for source in _sources(draw):
        if not tally.begin(source[-160:]):
            return
        try:
            text = render(source, _MESSAGES)
        except TemplateError:
            tally.end("refused", seconds=MAX_SECONDS + 30)
        except Exception as error:  # noqa: BLE001 - what is looked for
            tally.fail(repr(error))
        else:
            if "foredraft." in text or "root:" in text or "<module" in text:
                tally.fail(f"looked out: {text[:200]}")
            else:
                tally.end("rendered", seconds=MAX_SECONDS + 30)


def _sources(draw: random.Random) -> Iterator[str]:
    yield from draw.sample([*BOMBS, *ESCAPES], len(BOMBS) + len(ESCAPES))
    for _ in itertools.count():
        expression = f"({draw.choice(_VALUES)})" + "".join(
            f" | {draw.choice(_FILTERS)}" for _ in range(draw.randrange(6))
        )
        source = "{{ " + expression + " }}"
        for _ in range(draw.randrange(3)):
            source = "{% for i in range(" + str(draw.choice((3, 99, 9999))) + ") %}" + source + "{% endfor %}"
        yield source
