"""From rows of logits to laws and tokens: the sampler chain of one sequence.

The chain, in this order (llama.cpp's defaults): grammar mask, logit bias, penalties, top-k, top-p, min-p, temperature.
At temperature 0 there is no distribution at all: the token with the largest (biased, penalised) logit, ties to the
lowest id. At temperature > 0 the token of position `pos` is argmax over ln p(x) + g(pos, x) with position-keyed Gumbel
noise g: an exact sample of p, and a function of seed and position alone.

Law 8 of the house: position i of a draft is computed with the state after the drafted prefix x_<i, on a copy; only
emitted tokens are committed.

Rows of logits are never copied whole. A threshold on the row's maximum first picks the few candidates that can matter;
the threshold is chosen so that the result is exact (see `_candidates`).
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

Row = NDArray[np.float32]

_FIRST_REACH = 8.0
"""How far below the maximum (in nats) the first search for top-k candidates reaches; doubled until k are found."""


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
        self._seen = Occurrences(history, params.penalty_last_n) if params.penalised else None
        bias = sorted(params.logit_bias.items())
        self._bias_ids = np.array([t for t, _ in bias], dtype=np.int64)
        self._bias = np.array([b for _, b in bias], dtype=np.float64)
        self._raw = self._seen is None and not bias and constraint is None

    @property
    def greedy(self) -> bool:
        return self.params.greedy

    @property
    def plain_logits(self) -> bool:
        """True when nothing changes the logits: a greedy choice is then the argmax of the row itself."""
        return self._raw

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
            ids, logits = self._changed(row, prefix, position, reach=0.0)
            return int(ids[logits.argmax()])
        ids, logits = self.candidates(row, prefix, position)
        return int(ids[(logits + noise.gumbel(noise.key(self.seed, noise.TARGET, position), ids)).argmax()])

    def law(self, row: Row, prefix: Sequence[int], position: int, temperature: float | None = None) -> Distribution:
        """The law of the token at `position`; a point mass at temperature 0."""
        if self.params.temperature == 0.0:
            return Distribution.one_hot(self.choose(row, prefix, position))
        return Distribution.from_logits(*self.candidates(row, prefix, position, temperature))

    def guess(self, row: Row, prefix: Sequence[int], position: int, *, confidence: bool) -> tuple[int, float]:
        """A draft's token from the draft's own logits, with the very noise of the target (coupled), and its confidence.

        The confidence is in [0, 1]; greedy: the draft's probability of its token; sampled: 1 − e^−m with m the
        perturbed margin (ln q + g)₁ − (ln q + g)₂, the better signal of the two (algorithms.md §1.7). nan if not asked.
        """
        row = row[: self.n_vocab]
        if not confidence:
            return self.choose(row, prefix, position), math.nan
        if self.params.temperature == 0.0:
            if self._raw:
                token = self._argmax(row, position)
                top = row[token]
                near = row[row > top - _FIRST_REACH].astype(np.float64)
                return token, 1.0 / float(np.exp(near - float(top)).sum())
            ids, logits = self._changed(row, prefix, position, reach=_FIRST_REACH)
            best = int(logits.argmax())
            return int(ids[best]), 1.0 / float(np.exp(logits - logits[best]).sum())
        ids, logits = self.candidates(row, prefix, position)
        score = logits + noise.gumbel(noise.key(self.seed, noise.TARGET, position), ids)
        best = int(score.argmax())
        if len(score) == 1:
            return int(ids[best]), 1.0
        top = float(score[best])
        score[best] = -np.inf
        return int(ids[best]), -math.expm1(float(score.max()) - top)

    def candidates(
        self, row: Row, prefix: Sequence[int], position: int, temperature: float | None = None
    ) -> tuple[steps.Ids, steps.Values]:
        """The whole chain at temperature > 0: the ids that can happen and their logits after temperature, sorted."""
        params = self.params
        n = len(row)
        k = params.top_k if 0 < params.top_k < n else n
        if k < n:
            reach = _FIRST_REACH
            ids, logits = self._changed(row, prefix, position, reach)
            while len(ids) < k and reach < math.inf:
                reach = reach * 2.0 if reach < 128.0 else math.inf
                ids, logits = self._changed(row, prefix, position, reach)
            if len(ids) > 4 * k:
                kth = np.partition(logits, len(logits) - k)[len(logits) - k]
                kept = logits >= kth
                ids, logits = ids[kept], logits[kept]
        else:
            # Without top-k the cut of min-p is a threshold, exact when top-p does not need the tail's mass.
            exact = params.min_p > 0.0 and params.top_p >= 1.0
            reach = -math.log(params.min_p) + 1e-6 if exact else math.inf
            ids, logits = self._changed(row, prefix, position, reach)
        ids, logits = steps.sort(ids, logits)
        keep = steps.top_k(logits, k)
        if params.top_p < 1.0:
            keep = min(keep, steps.top_p(logits[:keep], params.top_p))
        if params.min_p > 0.0:
            keep = min(keep, steps.min_p(logits[:keep], params.min_p))
        keep = max(keep, 1)
        return ids[:keep], steps.temperature(logits[:keep], temperature or params.temperature)

    def _argmax(self, row: Row, position: int) -> int:
        token = int(row.argmax())
        # argmax returns the first NaN if there is one, so looking at one value checks them all.
        if not row[token] > -math.inf:
            raise NonFiniteLogitsError(position)
        return token

    def _changed(
        self, row: Row, prefix: Sequence[int], position: int, reach: float
    ) -> tuple[steps.Ids, steps.Values]:
        """Mask, bias and penalties, then every token within `reach` nats of the best; ids rising.

        Only the few tokens that bias or penalties name change, so they are taken out, changed and put back; the others
        keep the row's values. If the changes lowered the maximum, the search is repeated from the new one: the result
        never depends on where it began.
        """
        mask = self.constraint.allowed(prefix) if self.constraint is not None else None
        if mask is not None:
            legal = np.flatnonzero(mask[: len(row)])
            top = float(row[legal].max()) if legal.size else math.nan
        else:
            legal = None
            top = float(row.max())
        if not top > -math.inf:
            raise NonFiniteLogitsError(position)

        named, values = self._named(row, prefix)
        if legal is not None and named.size:
            keep = np.isin(named, legal, assume_unique=True)
            named, values = named[keep], values[keep]
        while True:
            floor = top - reach if reach < math.inf else -math.inf
            if legal is None:
                ids = np.flatnonzero(row >= floor) if reach < math.inf else np.flatnonzero(row > floor)
            else:
                inside = row[legal]
                ids = legal[(inside >= floor) & (inside > -math.inf)]
            logits = row[ids].astype(np.float64)
            if not named.size:
                return ids, logits
            others = ~np.isin(ids, named, assume_unique=True)
            possible = values > -math.inf
            ids = np.concatenate([ids[others], named[possible]])
            logits = np.concatenate([logits[others], values[possible]])
            best = float(logits.max()) if ids.size else -math.inf
            if best >= top or floor == -math.inf:
                break
            # Everything near the old maximum was pushed down: look again from what is now on top.
            top = best if best > -math.inf else top - max(reach, 1.0) * 2.0
            if best == -math.inf and top < float(row.min()) - reach:
                reach = math.inf
        if not ids.size:
            raise NonFiniteLogitsError(position)
        near = logits >= best - reach if reach < math.inf else slice(None)
        ids, logits = ids[near], logits[near]
        order = np.argsort(ids)
        return ids[order], logits[order]

    def _named(self, row: Row, prefix: Sequence[int]) -> tuple[steps.Ids, steps.Values]:
        """The tokens that bias and penalties name, and their changed logits; ids rising."""
        named = self._bias_ids[self._bias_ids < len(row)]
        values = row[named].astype(np.float64) + self._bias[: len(named)]
        if self._seen is None:
            return named, values
        ids, counts = self._seen.ahead(prefix)
        inside = ids < len(row)
        ids, counts = ids[inside], counts[inside]
        logits = row[ids].astype(np.float64)
        if named.size:
            at = np.minimum(np.searchsorted(named, ids), len(named) - 1)
            both = named[at] == ids
            logits[both] = values[at[both]]
        logits = steps.penalise(
            logits, counts, self.params.repeat_penalty, self.params.frequency_penalty, self.params.presence_penalty
        )
        if named.size:
            only = ~np.isin(named, ids, assume_unique=True)
            ids = np.concatenate([ids, named[only]])
            logits = np.concatenate([logits, values[only]])
            order = np.argsort(ids)
            return ids[order], logits[order]
        return ids, logits


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
