"""A chat template that a request brings, instead of the model's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.sdk.config import Values

_KEY = "promptTemplate"


def own_template(of: Values) -> tuple[str, tuple[str, ...]]:
    """(Jinja source or "", stop strings that belong to it). Raises `RequestError`."""
    wanted = of.table(_KEY)
    kind = wanted.get("type")
    if not wanted or kind == "none":
        return "", ()
    stops = wanted.get("stopStrings") or ()
    inner = wanted.get(f"{kind}PromptTemplate")
    if not isinstance(inner, Mapping) or not isinstance(stops, (list, tuple)):
        raise RequestError(f"{_KEY} of the type {str(kind)[:50]!r} is not complete.", param=_KEY)
    if kind == "jinja" and isinstance(inner.get("template"), str):
        return inner["template"], tuple(map(str, stops))
    if kind == "manual":
        return _of_parts(inner), tuple(map(str, stops))
    raise RequestError(f"{_KEY} must be of the type jinja or manual.", param=_KEY)


def _of_parts(parts: Mapping[str, Any]) -> str:
    """A template of what stands before and after each message."""
    lines = []
    for role in ("system", "user", "assistant"):
        before, after = (json.dumps(str(parts.get(f"{side}{role.title()}", "")), ensure_ascii=False) for side in _SIDES)
        lines.append(f"{{%- if m.role == '{role}' %}}{{{{ {before} + (m.content or '') + {after} }}}}{{% endif -%}}")
    opening = json.dumps(str(parts.get("beforeAssistant", "")), ensure_ascii=False)
    ending = f"{{%- if add_generation_prompt %}}{{{{ {opening} }}}}{{% endif -%}}"
    return f"{{%- for m in messages -%}}{''.join(lines)}{{%- endfor -%}}{ending}"


_SIDES = ("before", "after")
