"""An answer on the page: formatted, painted by origin, growing while it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element

from foredraft.words import Words


class TokenStream(Element, component="token_stream.js"):
    """`tokens` (`ui/tokens.py`) is what is known already; with `follow` (a message id) the rest is fetched as it is
    written."""

    def __init__(
        self,
        tokens: Sequence[Any],
        words: Words,
        *,
        follow: int | None = None,
        inspector: bool = False,
        language: str = "",
        on_end: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__()
        # With a `language` the whole text is code, not Markdown: a fence before it, that never ends, says so.
        self._props["tokens"] = [[f"```{language}\n", "m", 0], *tokens] if language else list(tokens)
        self._props["words"] = _words(words)
        self._props["inspector"] = inspector
        if follow is not None:
            self._props["src"] = f"/_foredraft/answers/{follow}?from={len(tokens)}"
        if on_end is not None:
            self.on("ended", lambda _: on_end(), args=[])


def _words(words: Words) -> dict[str, Any]:
    return {
        **words.group("stream"),
        "origins": {"a": words("origin.a"), "c": words("origin.c"), "b": words("origin.b"), "m": words("origin.m")},
    }
