"""The proofs prove something: each known mistake, made on purpose, makes the proof named beside it fail.

The mistakes are those found in public implementations of speculative decoding (vLLM, SGLang, vLLM-Ascend, xLLM, MLX …)
and the ones that this design could make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from foredraft.core.errors import EngineError
from foredraft.core.params import Request, SamplingParams
from foredraft.engines.toy import ToyEngine
from foredraft.sampling import noise
from foredraft.sampling.distribution import Distribution
from foredraft.sampling.sampler import Laws, Sampler
from foredraft.speculative.acceptance import Block, Rejection
from foredraft.speculative.drafters import ModelDrafter
from foredraft.speculative.proposal import Verification
from tests.contracts import test_rules
from tests.speculative import test_same_text, test_verdicts

Patch = pytest.MonkeyPatch
Proof = Callable[[], None]


def law_of(rule: str, settings: str = "plain") -> Proof:
    """`test_one_round_keeps_the_law`"""
    return lambda: test_rules.test_one_round_keeps_the_law(rule, test_rules.SAMPLING[settings], 0.0)


def law_of_two_rounds(rule: str) -> Proof:
    """`test_two_rounds_keep_the_law`"""
    return lambda: test_rules.test_two_rounds_keep_the_law(rule, 0)


def golden(rule_and_gamma: int) -> Proof:
    """`test_expected_guesses_kept`"""
    return lambda: test_verdicts.test_expected_guesses_kept(*test_verdicts.KEPT[rule_and_gamma])


def same_text(temperature: float = 0.8, kind: str = "good", model: int = 0, **sampling: Any) -> Proof:
    """`test_same_text`"""

    def proof() -> None:
        inner = test_same_text.test_same_text.hypothesis.inner_test
        for seed in range(8):
            params = SamplingParams(temperature=temperature, seed=seed, **sampling)
            request = Request((2, 3, 2), params, max_tokens=25, ignore_eos=True)
            inner(test_same_text.MODELS[model], request, kind, 4, 0)

    return proof


# ---- the mistakes ----


def drop_after_sampling(patch: Patch) -> None:
    """p_min the wrong way: a token that was drawn and found unlikely is not put before the target."""
    propose = ModelDrafter.propose

    def mutant(self: ModelDrafter, sequences: Any, plans: Any) -> Any:
        proposals = propose(self, sequences, plans)
        for x in proposals:
            while x.dists and x.dists[-1].prob(x.tokens[-1]) < 0.3:
                x.dists.pop(), x.tokens.pop(), x.confidence.pop()
        return proposals

    patch.setattr(ModelDrafter, "propose", mutant)


def residual_is_p(patch: Patch) -> None:
    patch.setattr(Distribution, "minus", lambda p, q, weight=1.0: p)


def residual_without_weight(patch: Patch) -> None:
    """Block verification with the residual of a single token: (p − q)+ instead of (P_τ·p − q)+."""
    minus = Distribution.minus
    patch.setattr(Distribution, "minus", lambda p, q, weight=1.0: minus(p, q))


def residual_subtracts_at_the_guess_only(patch: Patch) -> None:
    def mutant(self: Rejection, laws: Laws, proposal: Any) -> Verification:
        for i, (x, q) in enumerate(zip(proposal.tokens, proposal.dists, strict=True)):
            p = laws.law(i)
            if laws.accept_uniform(i) * q.prob(x) <= p.prob(x):
                continue
            only_x = Distribution(np.array([x]), np.array([q.prob(x)]))
            return Verification(i, p.minus(only_x).sample(laws.residual_place(i)), "corrected", tested=i + 1)
        n = len(proposal)
        return Verification(n, laws.law(n).sample(laws.residual_place(n)), "bonus", tested=n)

    patch.setattr(Rejection, "accept", mutant)


def q_at_temperature_1(patch: Patch) -> None:
    """The guess is drawn at the request's temperature, the law handed over is that of temperature 1."""
    guess = ModelDrafter._guess

    def mutant(self: ModelDrafter, sequence: Any, x: Any, row: Any, plan: Any) -> None:
        position, prefix = len(sequence.tokens) + len(x), list(x.tokens)
        guess(self, sequence, x, row, plan)
        x.dists[-1] = sequence.sampler.law(row, prefix, position, 1.0)

    patch.setattr(ModelDrafter, "_guess", mutant)


def bonus_from_the_row_before(patch: Patch) -> None:
    law = Laws.law
    patch.setattr(Laws, "law", lambda self, i: law(self, min(i, len(self.drafted) - 1)))


def one_number_for_test_and_residual(patch: Patch) -> None:
    patch.setattr(
        Laws,
        "residual_place",
        lambda self, i: noise.key(self.sampler.seed, noise.ACCEPT, self.position + i, self.position),
    )


def noise_without_the_rounds_start(patch: Patch) -> None:
    """The next round finds the numbers that have already been looked at in this one."""
    key = noise.key
    patch.setattr(noise, "key", lambda seed, stream, position, start=0: key(seed, stream, position))


def penalties_frozen_at_the_rounds_start(patch: Patch) -> None:
    patch.setattr(Laws, "law", lambda self, i: self.sampler.law(self.rows[i], [], self.position + i))
    patch.setattr(Laws, "choose", lambda self, i: self.sampler.choose(self.rows[i], [], self.position + i))


def state_of_rejected_tokens_is_committed(patch: Patch) -> None:
    commit, laws = Sampler.commit, Sampler.laws
    drafts: dict[Sampler, list[int]] = {}

    def mutant_laws(self: Sampler, rows: Any, drafted: Any, position: int) -> Laws:
        drafts[self] = list(drafted)
        return laws(self, rows, drafted, position)

    patch.setattr(Sampler, "laws", mutant_laws)
    patch.setattr(Sampler, "commit", lambda self, tokens: commit(self, [*drafts[self], tokens[-1]]))


def only_the_last_token_is_committed(patch: Patch) -> None:
    commit = Sampler.commit
    patch.setattr(Sampler, "commit", lambda self, tokens: commit(self, tokens[-1:]))


def cache_is_cut_one_token_late(patch: Patch) -> None:
    rewind = ToyEngine.rewind

    def mutant(self: ToyEngine, slot: int, length: int) -> None:
        rewind(self, slot, min(length + 1, self.length(slot)) if length else 0)

    patch.setattr(ToyEngine, "rewind", mutant)


def noise_by_draft_offset(patch: Patch) -> None:
    patch.setattr(Laws, "choose", lambda self, i: self.sampler.choose(self.rows[i], self.drafted[:i], i))


def ties_break_otherwise_in_verification(patch: Patch) -> None:
    choose = Laws.choose

    def mutant(self: Laws, i: int) -> int:
        if self.drafted and self.sampler.greedy:
            row = self.rows[i]
            return len(row) - 1 - int(row[::-1].argmax())
        return choose(self, i)

    patch.setattr(Laws, "choose", mutant)


def draft_has_noise_of_its_own(patch: Patch) -> None:
    """Still lossless, but a waste: a coupled draft that is the target itself must never be wrong."""
    guess = Sampler.guess
    patch.setattr(
        Sampler,
        "guess",
        lambda self, row, prefix, position, *, confidence: guess(
            self, row, prefix, position + 1000, confidence=confidence
        ),
    )


def block_judges_token_by_token(patch: Patch) -> None:
    patch.setattr(Block, "accept", Rejection.accept)


def block_weight_is_not_clipped(patch: Patch) -> None:
    import foredraft.speculative.acceptance.block as module

    patch.setattr(module, "min", lambda a, b: b, raising=False)


def nothing_is_subtracted_in_the_block_test(patch: Patch) -> None:
    """Z from p_{i+1} alone: earlier guesses are rescued too often."""
    patch.setattr(Distribution, "excess", lambda p, q, weight=1.0: weight)


MUTANTS: list[tuple[Callable[[Patch], None], Proof]] = [
    (drop_after_sampling, law_of("rejection")),
    (drop_after_sampling, law_of("block")),
    (residual_is_p, law_of("rejection")),
    (residual_is_p, law_of("block")),
    (residual_without_weight, law_of("block")),
    (residual_subtracts_at_the_guess_only, law_of("rejection")),
    (q_at_temperature_1, law_of("rejection", "cool")),
    (q_at_temperature_1, law_of("block", "hot")),
    (bonus_from_the_row_before, law_of("rejection")),
    (bonus_from_the_row_before, law_of("block")),
    (one_number_for_test_and_residual, law_of("rejection")),
    (noise_without_the_rounds_start, law_of_two_rounds("rejection")),
    (noise_without_the_rounds_start, law_of_two_rounds("block")),
    (penalties_frozen_at_the_rounds_start, law_of("match", "penalties")),
    (penalties_frozen_at_the_rounds_start, law_of("rejection", "penalties")),
    (penalties_frozen_at_the_rounds_start, same_text(frequency_penalty=0.5)),
    (state_of_rejected_tokens_is_committed, same_text(0.0, repeat_penalty=1.3)),
    (state_of_rejected_tokens_is_committed, law_of_two_rounds("block")),
    (only_the_last_token_is_committed, same_text(frequency_penalty=0.5)),
    (cache_is_cut_one_token_late, same_text()),
    (noise_by_draft_offset, same_text()),
    (ties_break_otherwise_in_verification, same_text(0.0, "monkey", model=2)),
    (draft_has_noise_of_its_own, same_text(0.8, "same")),
    (block_judges_token_by_token, golden(1)),
    (block_weight_is_not_clipped, law_of("block")),
    (nothing_is_subtracted_in_the_block_test, law_of("block")),
]


@pytest.mark.parametrize(("mutant", "proof"), MUTANTS, ids=lambda part: getattr(part, "__name__", "proof"))
def test_mutant_is_killed(mutant: Callable[[Patch], None], proof: Proof, monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, EngineError)):
        proof()


@pytest.mark.parametrize("proof", [proof for _, proof in MUTANTS])
def test_the_same_proof_holds_without_the_mutant(proof: Proof) -> None:
    proof()
