"""A body's bytes as the value of their JSON, within the limits."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import from_json

from foredraft.server.limits import check_json

_HALVES = re.compile("[\ud800-\udfff]")


def value_of(body: bytes, *, alone: bool = False) -> Any:
    """Raises `ValueError`, or `LimitError` where it would be too much to read. `alone`: in a process of its own."""
    check_json(body, alone=alone)
    try:
        return _parsed(body)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _parsed(body: bytes) -> Any:
    """No other thread of Python runs meanwhile, and pydantic's parser takes half the time of the standard library's for
    the worst bodies there are. It refuses half of a surrogate pair, which JavaScript sends of an emoji that was cut in
    two: no text can hold one, so U+FFFD takes its place."""
    try:
        return from_json(body)
    except ValueError:
        value = json.loads(body)
    return json.loads(_HALVES.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
