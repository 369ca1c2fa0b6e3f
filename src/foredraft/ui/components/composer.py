"""Where a message is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui.element import Element

from foredraft.words import Words


class Composer(Element, component="composer.js"):
    """Sends by HTTP, so that the text is safe whatever happens to the page's connection."""

    def __init__(
        self,
        words: Words,
        *,
        page: str,
        on_sent: Callable[[str], Any],
        on_stop: Callable[[], Any],
        on_plain: Callable[[], Any],
        **state: Any,
    ) -> None:
        super().__init__()
        self._props["words"] = {**words.group("composer"), "page": page}
        self.show(**state)
        self.on("sent", lambda event: on_sent(str(event.args)))
        self.on("stop", lambda _: on_stop(), args=[])
        self.on("plain", lambda _: on_plain(), args=[])

    def show(self, **state: Any) -> None:
        """Any of chat, unsent, busy, ready, structured, used, context."""
        for name, value in state.items():
            self._props[name] = value
        self.update()
