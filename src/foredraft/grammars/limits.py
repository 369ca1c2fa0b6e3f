"""How large a schema or grammar of a request may be: counted before anything is compiled.

llguidance compiles recursively, once a rule, and some grammars take it seconds of every later token. Nobody's schema is
near these limits; OpenAI's own are 5,000 properties and 120,000 characters of names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from foredraft.core.errors import ForedraftError

MAX_BYTES = 2**18
"""Bytes of a schema as JSON, or of a grammar's text."""
MAX_DEFINITIONS = 2_000
"""Entries of all `$defs` and `definitions` of a schema; rules and terminals of a grammar."""
MAX_CHAIN = 500
"""Definitions that lead from one to the next."""
MAX_NESTING = 100
"""Objects and lists inside each other."""

_RULE = re.compile(r"^[ \t]*[?!]?([a-zA-Z_]\w*)[^:\n]*:", re.MULTILINE)
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|//[^\n]*|/(?:\\.|[^/\\\n])+/")
_NAME = re.compile(r"[a-zA-Z_]\w*")


class GrammarError(ForedraftError):
    """A grammar or JSON schema cannot be used. `path` leads to the part at fault ("properties.age"), if it is known."""

    code = "grammar"

    def __init__(self, reason: str, path: str = "") -> None:
        where = f" at {path}" if path else ""
        super().__init__(f"The schema cannot be used{where}: {reason}")
        self.reason = reason
        self.path = path


def schema_text(schema: Any) -> str:
    """A schema as JSON. Raises `GrammarError` with both numbers for one beyond the limits, and for what is not JSON."""
    definitions = size = 0
    leads: dict[str, list[str]] = {}
    waiting: list[tuple[Any, int, str]] = [(schema, 1, "")]
    while waiting:
        part, depth, within = waiting.pop()
        size += len(part) if isinstance(part, str) else 1
        if size > MAX_BYTES:  # what follows would only be more
            raise GrammarError(f"it has more than {size - 1:,} bytes; at most {MAX_BYTES:,} are read")
        if not isinstance(part, (Mapping, list)):
            continue
        if depth > MAX_NESTING:
            raise GrammarError(f"it is nested {depth} deep or more; at most {MAX_NESTING} is read")
        if isinstance(part, list):
            waiting += [(inner, depth + 1, within) for inner in part]
            continue
        size += sum(len(str(key)) for key in part)
        for key, inner in part.items():
            if key in ("$defs", "definitions") and isinstance(inner, Mapping):
                definitions += len(inner)
                _refuse("definitions ($defs)", definitions, MAX_DEFINITIONS)
                waiting += [(entry, depth + 2, name) for name, entry in inner.items()]
                continue
            if key == "$ref" and isinstance(inner, str):
                leads.setdefault(within, []).append(inner.rpartition("/")[2])
            waiting.append((inner, depth + 1, within))
    _refuse_chain(leads)
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError) as error:
        raise GrammarError(f"it is not JSON: {error}") from None
    _refuse("bytes", len(text), MAX_BYTES)
    return text


def check_lark(text: str) -> None:
    """Raises `GrammarError` with both numbers for a grammar in Lark's dialect beyond the limits."""
    _refuse("bytes", len(text.encode("utf-8", "surrogatepass")), MAX_BYTES)
    bare = _QUOTED.sub(" ", text)
    rules = list(_RULE.finditer(bare))
    _refuse("rules", len(rules), MAX_DEFINITIONS)
    ends = [rule.start() for rule in rules[1:]] + [len(bare)]
    _refuse_chain({rule[1]: _NAME.findall(bare, rule.end(), end) for rule, end in zip(rules, ends, strict=True)})


def _refuse(what: str, count: int, most: int) -> None:
    if count > most:
        raise GrammarError(f"it has {count:,} {what}; at most {most:,} are read")


def _refuse_chain(leads: Mapping[str, Iterable[str]]) -> None:
    """Refuse definitions of which too many lead from one to the next; where they lead in a circle it is cut."""
    length: dict[str, int] = {}  # of the longest chain that begins at a definition; 0 while it is being followed
    for first in leads:
        if first in length:
            continue
        length[first] = 0
        path = [(first, iter(leads[first]))]
        while path:
            name, following = path[-1]
            inner = next((other for other in following if other in leads and other not in length), None)
            if inner is not None:
                length[inner] = 0
                path.append((inner, iter(leads[inner])))
                continue
            longest = 1 + max((length[other] for other in leads[name] if other in leads), default=0)
            if longest > MAX_CHAIN:
                raise GrammarError(
                    f"it has a chain of {longest} definitions or more, each leading to the next; "
                    f"at most {MAX_CHAIN} are read"
                )
            length[name] = longest
            path.pop()
