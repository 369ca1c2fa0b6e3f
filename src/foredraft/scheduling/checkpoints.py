"""Where the reading of a prompt stops for a checkpoint, on an engine that cannot go back as it likes.

The next text of a conversation parts from this one at the end of a message: behind the system prompt where somebody
else asks, behind the last question where the answer is written anew or comes back without its reasoning. A state that
was kept there saves reading all that lies before. Each stop costs the pass that ends there: so there are at most two.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

APART = 16
"""Tokens that must lie between two stops: less is read again sooner than a pass is made for it."""


def stops(prompt: Sequence[int], ends: Collection[int], start: int = 0) -> list[int]:
    """Lengths of the prompt, rising, at which its state is to be kept; from `start` on it is to be read. `ends` are the
    tokens that end a message. The last token is never read with the prompt: it is the first input of the first round.
    """
    last = len(prompt) - 1
    turns = [at + 1 for at in range(start, last) if prompt[at] in ends]
    wished = [*turns[:1], *turns[-1:]]
    if not turns or last - turns[-1] >= APART:
        wished.append(last)  # no conversation, or one whose last message is not marked
    found: list[int] = []
    for at in wished:
        if at - (found[-1] if found else start) >= APART:
            found.append(at)
    return found
