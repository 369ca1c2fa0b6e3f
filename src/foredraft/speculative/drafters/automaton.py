"""A suffix automaton: all repetitions in a text, found while it grows.

Blumer et al. 1985; as a drafter Hu et al. 2024 (SAM decoding, arXiv:2411.10666). A state is a set of strings with the
same ends in the text. `append` costs amortised O(1); afterwards the suffix link of the whole text's state *is* the
longest suffix that occurred before. At most 2n states and 3n transitions for n tokens, kept in flat arrays: a Python
object for each would take more memory than a small model.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_CROWD = 8
"""A state with more transitions than this gets a dict instead of a list to search through."""

_UPDATED = 4
"""How many states a token updates with the newest place of their strings; older places are as right, only older."""


class SuffixAutomaton:
    """The text so far, and what matches its end."""

    __slots__ = ("_after", "_crowds", "_head", "_hits", "_last", "_length", "_link", "_next", "_target", "_token",
                 "_visits", "text")  # fmt: skip

    def __init__(self) -> None:
        self.text = array("i")
        # One entry a state; 0 is the empty string.
        self._length = array("i", [0])  # of the state's longest string
        self._link = array("i", [-1])  # the state of the longest suffix with more ends
        self._head = array("i", [-1])  # the first transition of the state's list
        self._after = array("i", [0])  # the place behind an occurrence, mostly the newest
        self._visits = array("H", [0])  # how often the strings came again, and how often
        self._hits = array("H", [0])  # they went on as the time before
        # One entry a transition, chained by state.
        self._token = array("i")
        self._target = array("i")
        self._next = array("i")
        self._crowds: dict[int, dict[int, int]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self.text)

    @property
    def nbytes(self) -> int:
        """Memory of all this, roughly."""
        arrays = [self.text, self._length, self._link, self._head, self._after, self._visits, self._hits]
        arrays += [self._token, self._target, self._next]
        return sum(a.__sizeof__() for a in arrays) + sum(c.__sizeof__() + 64 * len(c) for c in self._crowds.values())

    def match(self) -> tuple[int, int, float]:
        """(length, place, share): the longest suffix of the text that occurred before, the place behind such an
        earlier occurrence, and the share of its occurrences that went on as the one before them."""
        state = self._link[self._last]
        if state <= 0:
            return 0, 0, 0.0
        return self._length[state], self._after[state], self._share(state)

    def following(self, place: int, count: int) -> list[int]:
        """The text from a place on; behind its end the repetition goes round again."""
        found = self.text[place : place + count].tolist()
        period = len(found)
        while len(found) < count:
            found.append(found[len(found) - period])
        return found

    def walk(self, state: int, length: int, token: int) -> tuple[int, int, float]:
        """For another text read along this one: the longest suffix of (what `state` and `length` stand for + token)
        that occurs here, as (state, length) and its share; (0, 0) is none. Amortised O(1)."""
        target = self._step(state, token)
        while target < 0 and state > 0:
            state = self._link[state]
            length = self._length[state]
            target = self._step(state, token)
        if target < 0:
            return 0, 0, 0.0
        return target, length + 1, self._share(target)

    def place(self, state: int) -> int:
        """The place behind an occurrence of a state's strings."""
        return self._after[state]

    def _share(self, state: int) -> float:
        return (self._hits[state] + 1) / (self._visits[state] + 1)

    def _step(self, state: int, token: int) -> int:
        crowd = self._crowds.get(state)
        if crowd is not None:
            return crowd.get(token, -1)
        edge = self._head[state]
        while edge >= 0:
            if self._token[edge] == token:
                return self._target[edge]
            edge = self._next[edge]
        return -1

    def extend(self, tokens: Iterable[int]) -> None:
        """Let the text grow."""
        for token in tokens:
            self.append(token)

    def append(self, token: int) -> None:
        """Let the text grow by one token."""
        text, length, link, after = self.text, self._length, self._link, self._after
        head, tokens, targets, nexts, crowds = self._head, self._token, self._target, self._next, self._crowds
        here = len(text)
        text.append(token)
        self._learn(token, here)

        new = len(length)
        length.append(length[self._last] + 1)
        link.append(0)
        head.append(-1)
        after.append(here + 1)
        self._visits.append(0)
        self._hits.append(0)

        p = self._last
        self._last = new
        q = -1
        while p >= 0:  # every suffix that never went on with this token now does
            crowd = crowds.get(p)
            if crowd is not None:
                q = crowd.get(token, -1)
                if q >= 0:
                    break
                crowd[token] = new
            else:
                edge, degree = head[p], 0
                while edge >= 0 and tokens[edge] != token:
                    edge = nexts[edge]
                    degree += 1
                if edge >= 0:
                    q = targets[edge]
                    break
                if degree < _CROWD:
                    tokens.append(token)
                    targets.append(new)
                    nexts.append(head[p])
                    head[p] = len(tokens) - 1
                else:
                    crowds[p] = {**self._edges(p), token: new}
            p = link[p]
        if q < 0:
            return
        if length[p] + 1 == length[q]:
            link[new] = q
            return
        clone = self._clone(q, length[p] + 1)
        link[q] = link[new] = clone
        while p >= 0 and self._redirect(p, token, q, clone):
            p = link[p]

    def _learn(self, token: int, here: int) -> None:
        """What matched the end of the text before this token has now gone on once more."""
        state = self._link[self._last]
        for _ in range(_UPDATED):
            if state <= 0:
                return
            if self._visits[state] < 65535:
                self._visits[state] += 1
                self._hits[state] += self.text[self._after[state]] == token
            self._after[state] = here
            state = self._link[state]

    def _edges(self, state: int) -> dict[int, int]:
        edges = {}
        edge = self._head[state]
        while edge >= 0:
            edges[self._token[edge]] = self._target[edge]
            edge = self._next[edge]
        return edges

    def _clone(self, state: int, length: int) -> int:
        """A state for the shorter strings of another, which now have ends of their own."""
        clone = len(self._length)
        self._length.append(length)
        self._link.append(self._link[state])
        self._after.append(self._after[state])
        self._visits.append(0)
        self._hits.append(0)
        self._head.append(-1)
        crowd = self._crowds.get(state)
        if crowd is not None:
            self._crowds[clone] = dict(crowd)
            return clone
        edge, before = self._head[state], -1
        while edge >= 0:
            copy = len(self._token)
            self._token.append(self._token[edge])
            self._target.append(self._target[edge])
            self._next.append(-1)
            if before < 0:
                self._head[clone] = copy
            else:
                self._next[before] = copy
            edge, before = self._next[edge], copy
        return clone

    def _redirect(self, state: int, token: int, old: int, new: int) -> bool:
        crowd = self._crowds.get(state)
        if crowd is not None:
            if crowd.get(token) != old:
                return False
            crowd[token] = new
            return True
        edge = self._head[state]
        while edge >= 0:
            if self._token[edge] == token:
                if self._target[edge] != old:
                    return False
                self._target[edge] = new
                return True
            edge = self._next[edge]
        return False
