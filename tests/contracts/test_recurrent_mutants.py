"""The proofs about recurrent states prove something: each known mistake, made on purpose, makes one of them fail.

Those are the mistakes that the library lets one make without a word (`engines/states.py`).
"""

from __future__ import annotations

from typing import Any

import pytest

from foredraft.core.errors import EngineError
from foredraft.engines.rewind import FORK, Rewind, rollback
from foredraft.engines.states import States, Step
from foredraft.engines.toy import RecurrentToy, ToyEngine
from foredraft.engines.toy.recurrent import ToyMemory
from tests.contracts import test_recurrent_engines as contract
from tests.contracts.test_recurrent_engines import TOY, compare_with, walk
from tests.scheduling.test_recurrent import crowd


def two_passes_may_be_taken_back(patch: pytest.MonkeyPatch) -> None:
    done = States.done

    def mutant(self: States, step: Any) -> None:
        before = [known.last for known in self._slots]
        done(self, step)
        for known, last in zip(self._slots, before, strict=True):
            known.last += last

    patch.setattr(States, "done", mutant)


def a_copy_shares_what_was_taken_back(patch: pytest.MonkeyPatch) -> None:
    copy = States.copy

    def mutant(self: States, src: int, dst: int, length: int) -> None:
        self._settle()
        self._slots[src].pending = False
        copy(self, src, dst, length)

    patch.setattr(States, "copy", mutant)


def what_is_owed_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    begin = States.begin

    def mutant(self: States, chunks: Any) -> Any:
        for chunk in chunks:
            known = self._slots[chunk.slot]
            known.held = len(known.text)
        return begin(self, chunks)

    patch.setattr(States, "begin", mutant)


def texts_of_several_lengths_go_in_one_step(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: States, wide: Any) -> Any:
        return [Step(wide, [0] * len(wide))]

    done = States.done

    def believes(self: States, step: Any) -> None:
        done(self, step)
        for chunk in step.chunks:
            self._slots[chunk.slot].last = len(chunk.tokens)

    patch.setattr(States, "_steps", mutant)
    patch.setattr(States, "done", believes)


def a_fork_is_never_moved(patch: pytest.MonkeyPatch) -> None:
    fork = ToyMemory.fork
    patch.setattr(ToyMemory, "fork", lambda self, slot: None if self.read[slot + self._n_slots] else fork(self, slot))


def walks(way: Rewind) -> None:
    """`test_a_walk_of_every_move`"""
    for seed in range(8):
        right = compare_with(ToyEngine.random(3, **TOY))
        walk(RecurrentToy.random(3, rewind_limit=way, **TOY), right, seed)


def two_passes(way: Rewind) -> None:
    """`test_only_the_last_pass_rolls_back_and_once`"""
    right = compare_with(ToyEngine.random(3, **TOY))
    contract.test_only_the_last_pass_rolls_back_and_once(RecurrentToy.random(3, rewind_limit=way, **TOY), right)


MUTANTS = [
    (two_passes_may_be_taken_back, two_passes, rollback(5)),
    (a_copy_shares_what_was_taken_back, walks, rollback(5)),
    (what_is_owed_is_forgotten, crowd, FORK),
    (what_is_owed_is_forgotten, walks, FORK),
    (texts_of_several_lengths_go_in_one_step, crowd, rollback(8)),
    (texts_of_several_lengths_go_in_one_step, walks, rollback(5)),
    (a_fork_is_never_moved, crowd, FORK),
]


@pytest.mark.parametrize(("mutant", "proof", "way"), MUTANTS, ids=lambda part: getattr(part, "__name__", ""))
def test_mutant_is_killed(mutant: Any, proof: Any, way: Rewind, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, EngineError, pytest.fail.Exception)):
        proof(way)


@pytest.mark.parametrize(("proof", "way"), dict.fromkeys((proof, way) for _, proof, way in MUTANTS))
def test_the_same_proof_holds_without_the_mutant(proof: Any, way: Rewind) -> None:
    proof(way)
