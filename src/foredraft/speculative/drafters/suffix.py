"""Guesses by continuing the longest repetition: what followed the last time the text ended like this.

Prompt and answer live in a suffix automaton (`automaton.py`), so the longest match is known after every token at no
cost. With a `SuffixStore` the answers of the past are searched as well (SuffixDecoding, Oliaro et al. 2024,
arXiv:2411.04975); without one nothing is kept beyond an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from foredraft.core import files
from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason
from foredraft.speculative.drafters.automaton import SuffixAutomaton
from foredraft.speculative.drafters.finder import READ_A_ROUND, Finder, likelihood
from foredraft.speculative.sequence import RunningSequence

_SHORTEST = 2
"""Matches of fewer tokens say nothing."""

_BETWEEN = -1
"""Stands between two answers in the store: no text contains it, so no match and no guess runs across."""


class SuffixStore:
    """Answers of the past, on this machine only, for the drafter to look things up in. Off unless someone makes one.

    Token ids mean something in one vocabulary only: `vocabulary` is a name for it, and a file with another name is not
    read. `note` says why a file was not used; it is then written anew at the next `save`.
    """

    def __init__(self, path: Path | None = None, *, vocabulary: str = "", limit: int = 100_000) -> None:
        """`limit` in tokens: the oldest answers go when there are more (some 140 bytes of memory each)."""
        self.path = path
        self.note: Reason | None = None
        self._vocabulary = vocabulary
        self._half = max(1, limit // 2)
        self._answers: list[list[list[int]]] = [[]]  # one list of answers a generation, the youngest last
        self.generations = [SuffixAutomaton()]
        """At most two: the younger grows to half the limit, then the older one goes."""
        if path is not None and path.exists():
            self._load(path)

    def __len__(self) -> int:
        """Answers in the store."""
        return sum(map(len, self._answers))

    def add(self, answer: Sequence[int]) -> None:
        """Remember an answer."""
        tokens = list(answer[: self._half])
        if len(tokens) < _SHORTEST:
            return
        if len(self.generations[-1]) + len(tokens) > self._half:
            self.generations = [self.generations[-1], SuffixAutomaton()]
            self._answers = [self._answers[-1], []]
        self.generations[-1].extend([*tokens, _BETWEEN])
        self._answers[-1].append(tokens)

    def clear(self) -> None:
        """Forget everything, in memory and in the file."""
        self._answers, self.generations = [[]], [SuffixAutomaton()]
        if self.path is not None:
            files.remove(self.path)

    def save(self) -> None:
        """Write the file: a line with the vocabulary, then one line an answer. Raises `ForedraftError`."""
        if self.path is None:
            return
        lines = [f"foredraft answers 1 {self._vocabulary}"]
        lines += [" ".join(map(str, answer)) for answers in self._answers for answer in answers]
        beside = self.path.with_name(self.path.name + ".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
            files.replace(beside, self.path)
        except OSError as error:
            said = {"path": str(self.path), "error": str(error)}
            raise ForedraftError(Reason("past_unwritable", said)) from error

    def _load(self, path: Path) -> None:
        try:
            title, *lines = path.read_text(encoding="utf-8").splitlines()
            if title != f"foredraft answers 1 {self._vocabulary}":
                self.note = Reason("past_other", {"path": str(path)})
                return
            answers = [[int(word) for word in line.split()] for line in lines]
            if any(not 0 <= token < 2**31 for answer in answers for token in answer):
                raise ValueError("a token id out of range")
        except (OSError, ValueError) as error:
            self.note = Reason("past_unreadable", {"path": str(path), "error": str(error)})
            return
        for answer in answers:
            self.add(answer)


class SuffixDrafter(Finder):
    """The longest repetition in prompt, answer and, where there is a store, the answers of the past. Who owns the store
    adds to it."""

    name = "suffix"

    def __init__(self, clock: Callable[[], float] = time.perf_counter, store: SuffixStore | None = None) -> None:
        super().__init__(lambda sequence: _Suffixes(store if _remembers(sequence) else None), clock)


def _remembers(sequence: RunningSequence) -> bool:
    return sequence.request.speculation.remember


class _Suffixes:
    """The automaton of one running text, and where its end is found in those of the past."""

    def __init__(self, store: SuffixStore | None) -> None:
        self._own = SuffixAutomaton()
        self._store = store
        self._past: list[_Cursor] = []

    def follow(self, tokens: Sequence[int]) -> bool:
        done = len(self._own)
        new = tokens[done : done + READ_A_ROUND]
        self._own.extend(new)
        if self._store is not None:
            if [cursor.automaton for cursor in self._past] != self._store.generations:
                self._past = [_Cursor(automaton) for automaton in self._store.generations]
            for cursor in self._past:
                cursor.read(new)
        return done + len(new) == len(tokens)

    def find(self, limit: int) -> tuple[list[int], list[float]]:
        where = self._own
        length, place, share = where.match()
        for cursor in self._past:
            if cursor.length > length:
                where, length, share = cursor.automaton, cursor.length, cursor.share
                place = where.place(cursor.state)
        if length < _SHORTEST:
            return [], []
        found = where.following(place, limit)
        if _BETWEEN in found:
            del found[found.index(_BETWEEN) :]
        return found, [likelihood(length + i) * (share if i == 0 else 1.0) for i in range(len(found))]


class _Cursor:
    """Reads a text along an automaton of another: the longest suffix of the one that occurs in the other."""

    __slots__ = ("automaton", "length", "share", "state")

    def __init__(self, automaton: SuffixAutomaton) -> None:
        self.automaton = automaton
        self.state, self.length, self.share = 0, 0, 0.0

    def read(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self.state, self.length, self.share = self.automaton.walk(self.state, self.length, token)
