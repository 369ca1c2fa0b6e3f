"""Tells open pages what has changed, so that two tabs show the same."""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[str, str], None]
"""Called with a topic ("chats", "messages", "answer", "models", "measure") and what it is about (an id, or "")."""


class Hub:
    """Listeners come and go with pages. Everything happens on the event loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Returns the function that ends the subscription."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def publish(self, topic: str, about: str = "") -> None:
        for listener in list(self._listeners):
            listener(topic, about)
