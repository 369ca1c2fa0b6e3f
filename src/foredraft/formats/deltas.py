"""What an answer is made of, as it is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A tool call has begun; its arguments follow as text, in order."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of a call's arguments, which are JSON whatever form the model writes them in."""

    index: int
    text: str


Delta = Reasoning | Content | CallStarted | CallArguments


@dataclass(slots=True)
class ToolCall:
    """A tool call as read so far; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str = ""


def merged(deltas: list[Delta]) -> list[Delta]:
    """Neighbours of one kind as one."""
    made: list[Delta] = []
    for delta in deltas:
        last = made[-1] if made else None
        if isinstance(delta, Content) and isinstance(last, Content):
            made[-1] = Content(last.text + delta.text)
        elif isinstance(delta, Reasoning) and isinstance(last, Reasoning):
            made[-1] = Reasoning(last.text + delta.text)
        elif isinstance(delta, CallArguments) and isinstance(last, CallArguments) and last.index == delta.index:
            made[-1] = CallArguments(last.index, last.text + delta.text)
        else:
            made.append(delta)
    return made
