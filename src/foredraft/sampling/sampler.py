"""From rows of logits to laws and tokens: the sampler chain of one sequence.

The chain, in this order (llama.cpp's defaults): grammar mask, logit bias, penalties, top-k, top-p, min-p, temperature.
At temperature 0 there is no distribution at all: the token with the largest (biased, penalised) logit, ties to the
lowest id. At temperature > 0 the token of position `pos` is argmax over ln p(x) + g(pos, x) with position-keyed Gumbel
noise g: an exact sample of p, and a function of seed and position alone.

Law 8 of the house: position i of a draft is computed with the state after the drafted prefix x_<i, on a copy; only
emitted tokens are committed.

Rows of logits are never copied whole, but for a grammar's mask: `search.py` finds the few tokens that can matter.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foredraft.core.errors import NonFiniteLogitsError
from foredraft.core.params import SamplingParams
from foredraft.sampling import noise, steps
from foredraft.sampling.distribution import Distribution
from foredraft.sampling.penalties import Occurrences
from foredraft.sampling.search import Row, Scores

_CONFIDENCE_REACH = 8.0
"""A greedy draft's confidence counts the tokens within this many nats of its choice; the rest is below 1e-3 each."""


class Constraint(Protocol):
    """What may come next (a grammar, a JSON schema). Advances with emitted tokens, looks ahead without moving."""

    def allowed(self, prefix: Sequence[int]) -> NDArray[np.bool_] | None:
        """Mask over the vocabulary after a drafted prefix, shape (n_vocab,); None allows everything. An empty mask
        must not happen: a finished grammar allows the end tokens."""

    def commit(self, tokens: Sequence[int]) -> None:
        """Move on by emitted tokens."""


class Sampler:
    """The sampler of one running sequence: parameters, noise and the state that penalties and grammars need."""

    def __init__(
        self,
        params: SamplingParams,
        history: Sequence[int] = (),
        *,
        n_vocab: int | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.params = params
        self.seed = secrets.randbits(63) if params.seed is None else params.seed
        self.n_vocab = n_vocab
        """Size of the target's vocabulary: longer rows (a padded draft) are cut to it."""
        self.constraint = constraint
        self._cuts = tuple(name for name, step in steps.TRUNCATIONS.items() if step.active(params))
        self._seen = Occurrences(history, params.penalty_last_n) if params.penalised else None
        bias = sorted(params.logit_bias.items())
        self._bias_ids = np.array([t for t, _ in bias], dtype=np.int64)
        self._bias = np.array([b for _, b in bias], dtype=np.float64)
        self._raw = self._seen is None and not bias and constraint is None

    @property
    def greedy(self) -> bool:
        return self.params.greedy

    def laws(self, rows: NDArray[np.float32], drafted: Sequence[int], position: int) -> Laws:
        """The target's laws p1…p(γ+1) after each prefix of `drafted`; `rows` has shape (γ+1, n_vocab), `position` is
        the absolute index of the first token to be emitted."""
        return Laws(self, rows, drafted, position)

    def commit(self, tokens: Sequence[int]) -> None:
        """Move the state on by emitted tokens."""
        if self._seen is not None:
            self._seen.commit(tokens)
        if self.constraint is not None:
            self.constraint.commit(tokens)

    def choose(self, row: Row, prefix: Sequence[int], position: int) -> int:
        """The token that plain decoding emits at `position`: the greedy choice or the seeded sample."""
        if self.params.temperature == 0.0:
            if self._raw:
                return self._argmax(row, position)
            ids, logits = self._scores(row, prefix).best(1, position)
            return int(ids[logits.argmax()])
        ids, logits = self.candidates(row, prefix, position)
        if len(ids) == 1:
            return int(ids[0])
        return int(ids[(logits + noise.gumbel(noise.key(self.seed, noise.TARGET, position), ids)).argmax()])

    def law(self, row: Row, prefix: Sequence[int], position: int, temperature: float | None = None) -> Distribution:
        """The law of the token at `position`; a point mass at temperature 0."""
        if self.params.temperature == 0.0:
            return Distribution.one_hot(self.choose(row, prefix, position))
        return Distribution.from_logits(*self.candidates(row, prefix, position, temperature))

    def guess(self, row: Row, prefix: Sequence[int], position: int, *, confidence: bool) -> tuple[int, float]:
        """A draft's token from the draft's own logits, with the very noise of the target (coupled), and its confidence.

        The confidence is in [0, 1]; greedy: the draft's probability of its token; sampled: 1 − e^−m with m the
        perturbed margin (ln q + g)₁ − (ln q + g)₂, the better signal of the two
        (docs/concepts/algorithms.md §1.7). nan if not asked.
        """
        row = row[: self.n_vocab]
        if not confidence:
            return self.choose(row, prefix, position), math.nan
        if self.params.temperature == 0.0:
            token = self.choose(row, prefix, position)
            scores = self._scores(row, prefix)
            top = scores.logit(token)
            return token, 1.0 / float(np.exp(scores.above(top - _CONFIDENCE_REACH)[1] - top).sum())
        ids, logits = self.candidates(row, prefix, position)
        if len(ids) == 1:
            return int(ids[0]), 1.0
        score = logits + noise.gumbel(noise.key(self.seed, noise.TARGET, position), ids)
        best = int(score.argmax())
        top = float(score[best])
        score[best] = -np.inf
        return int(ids[best]), -math.expm1(float(score.max()) - top)

    def candidates(
        self, row: Row, prefix: Sequence[int], position: int, temperature: float | None = None
    ) -> tuple[steps.Ids, steps.Values]:
        """The whole chain at temperature > 0: the ids that can happen and their logits after temperature.

        The logits are relative to the best one: only differences mean anything. Sorted if anything is cut off.
        """
        params = self.params
        temperature = temperature or params.temperature
        scores = self._scores(row, prefix)
        k = params.top_k if 0 < params.top_k < len(row) else len(row)
        ids, logits = scores.best(k if k < len(row) else 1, position)
        mass = None
        if k == len(row) and params.top_p < 1.0:
            # top-p needs the mass of the whole row, but no token below this floor: n tokens there weigh less than 1 − p
            # of the best one alone.
            ids, logits = scores.above(-math.inf)
            logits -= logits.max()
            mass = float(np.exp(logits).sum())
            near = logits >= math.log1p(-params.top_p) - math.log(len(row)) - 1e-6
            ids, logits = ids[near], logits[near]
        elif k == len(row):
            best = float(logits.max())
            # where min-p is alone, what it cuts off need not be sorted
            ids, logits = scores.above(best + math.log(params.min_p) if self._cuts == ("min_p",) else -math.inf)
            if not self._cuts:
                return ids, steps.temperature(logits, best, temperature)
        ids, logits = steps.sort(ids, logits)
        keep = steps.truncate(logits, params, self._cuts, mass)
        return ids[:keep], steps.temperature(logits[:keep], float(logits[0]), temperature)

    def _argmax(self, row: Row, position: int) -> int:
        token = int(row.argmax())
        # argmax returns the first NaN if there is one, so looking at one value checks them all.
        if not -math.inf < row[token] < math.inf:
            raise NonFiniteLogitsError(position)
        return token

    def _scores(self, row: Row, prefix: Sequence[int]) -> Scores:
        """Mask, bias and penalties after a drafted prefix: the few tokens they name and their changed logits."""
        mask = self.constraint.allowed(prefix) if self.constraint is not None else None
        if mask is not None:
            row = np.where(mask[: len(row)], row, np.float32(-math.inf))
        if self._seen is None and not len(self._bias_ids):
            return Scores(row)
        bias_ids = self._bias_ids[: self._bias_ids.searchsorted(len(row))]
        if self._seen is None:
            return Scores(row, bias_ids, row[bias_ids] + self._bias[: len(bias_ids)])
        ids, counts = self._seen.ahead(prefix)
        inside = int(ids.searchsorted(len(row)))
        ids, counts = ids[:inside], counts[:inside]
        named = np.union1d(bias_ids, ids) if len(bias_ids) else ids
        values = row[named].astype(np.float64)
        values[named.searchsorted(bias_ids)] += self._bias[: len(bias_ids)]
        at = named.searchsorted(ids)
        params = self.params
        values[at] = steps.penalise(
            values[at], counts, params.repeat_penalty, params.frequency_penalty, params.presence_penalty
        )
        return Scores(row, named, values)


class Laws:
    """p1…p(γ+1) of one round, lazily: asking for position i computes position i and nothing behind it."""

    def __init__(self, sampler: Sampler, rows: NDArray[np.float32], drafted: Sequence[int], position: int) -> None:
        self.sampler = sampler
        self.rows = rows
        self.drafted = drafted
        self.position = position
        """Absolute index of the first token to be emitted; position i of the draft is emitted at position + i."""

    def __len__(self) -> int:
        return len(self.rows)

    def choose(self, i: int) -> int:
        """The token plain decoding emits after the drafted prefix x_<i: greedy, or with the noise of its position."""
        return self.sampler.choose(self.rows[i], self.drafted[:i], self.position + i)

    def law(self, i: int) -> Distribution:
        """The target's law after the drafted prefix x_<i."""
        return self.sampler.law(self.rows[i], self.drafted[:i], self.position + i)

    def accept_uniform(self, i: int) -> float:
        """The uniform number that decides over draft position i of this round."""
        return noise.uniform(noise.key(self.sampler.seed, noise.ACCEPT, self.position + i, self.position))

    def residual_place(self, i: int) -> int:
        """The noise place of the token that the target adds after i accepted guesses."""
        return noise.key(self.sampler.seed, noise.RESIDUAL, self.position + i, self.position)
