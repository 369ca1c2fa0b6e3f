"""Guesses from a second, smaller model.

The draft reads the same tokens as the target, in its own KV cache, one step a guess; all sequences share each step.
Under `match` it chooses with the target's own noise (coupled), under the other rules it samples from its law q with
noise of its own and hands q over. Speculative sampling is lossless for any draft, so the draft's reading may lag or
fail: only speed changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from foredraft.core.errors import CacheFullError, EngineError
from foredraft.core.reasons import Reason
from foredraft.engines.base import Chunk, Engine
from foredraft.sampling import noise
from foredraft.sampling.search import Row
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.drafters.temperature import DraftTemperature
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

_FIRST = 4
"""Tokens at the beginning of a text that are always read."""


class ModelDrafter:
    """The draft model of one pair. Owns its engine; slot numbers are the target's."""

    name = "model"

    def __init__(self, engine: Engine, n_vocab: int, clock: Callable[[], float] = time.perf_counter) -> None:
        """`n_vocab` is the target's vocabulary size: ids beyond it are never proposed."""
        self.engine = engine
        self.failure: Reason | None = None
        """Why the draft stopped guessing for good (NaN logits, an engine error); None while it works."""
        self.temperature = DraftTemperature()
        """At what temperature to draw under rejection and block."""
        self.window: int | None = None
        """Most tokens of a text the draft reads to catch up after a rest; older ones it never read are left out of its
        context until it reads along again (`prefill`). None reads everything."""
        self._n_vocab = n_vocab
        self.clock = clock
        """Seconds; a bench on a busy machine counts processor time instead."""
        self._read: dict[int, list[int]] = {}  # slot -> the tokens its cache holds
        self._hole: dict[int, tuple[int, int]] = {}  # slot -> (place in the cache, tokens of the text left out there)
        self._owner: dict[int, RunningSequence] = {}

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        proposals = [Proposal() for _ in sequences]
        if self.failure is not None:
            return proposals
        guessing = [i for i, plan in enumerate(plans) if plan.limit > 0 and self._fits(sequences[i], plan.limit)]
        if not guessing:
            return proposals
        began = first = self.clock()
        try:
            chunks = [self._catch_up(sequences[i], proposals[i]) for i in guessing]
            while guessing:
                rows = self.engine.forward(chunks)
                self._passed(chunks)
                more, chunks = [], []
                for i, row in zip(guessing, rows, strict=True):
                    sequence, x = sequences[i], proposals[i]
                    self._guess(sequence, x, row[-1], plans[i])
                    if (
                        len(x) < plans[i].limit
                        and x.tokens[-1] not in sequence.eog
                        and plans[i].go_on(len(x), x.confidence[-1])
                    ):
                        more.append(i)
                        chunks.append(self._after(sequence, x.tokens[-1]))
                guessing = more
                if first == began:
                    first = self.clock()
        except CacheFullError:
            self._make_room()
        except EngineError as error:
            self._give_up(error)
        guessed = [x for x in proposals if x.tokens]
        took = self.clock() - began
        for x in guessed:
            x.draft_s, x.first_s = took / len(guessed), (first - began) / len(guessed)
        return proposals

    def target_read(self, chunks: Sequence[Chunk]) -> None: ...

    def prefill(self, chunks: Sequence[Chunk]) -> None:
        """Read along with the target, so that the first guess of an answer does not wait for the whole prompt."""
        if self.failure is not None:
            return
        try:
            for chunk in chunks:
                read = self._read.setdefault(chunk.slot, [])
                self._mend(chunk.slot)
                if chunk.start <= len(read):
                    self._keep(chunk.slot, _common(read, chunk.tokens, chunk.start))
                    new = chunk.tokens[len(read) - chunk.start :]
                    if new and len(read) + len(new) <= self.engine.info.n_ctx:
                        self._forward(chunk.slot, new)
                    self.engine.keep(chunk.slot)
        except CacheFullError:
            self._make_room()
        except EngineError as error:
            self._give_up(error)

    def observe(self, record: Round) -> None:
        """Take back the guesses that did not stand: this draft's own, whoever's guess was put before the target."""
        try:
            for sequence, x, verdict, grown in zip(
                record.sequences, record.proposals, record.verdicts, record.emitted, strict=True
            ):
                if x.dists and verdict.law is not None:
                    self.temperature.learn(sequence.sampler.params.temperature, verdict.law, x.dists[0])
                if self._owner.get(sequence.slot) is sequence:
                    skipped = self._skipped(sequence.slot)
                    before = len(sequence.tokens) - grown
                    same = _common(self._read[sequence.slot], sequence.tokens[before:], before - skipped)
                    self._keep(sequence.slot, min(same, len(sequence.tokens) - 1 - skipped))
        except EngineError as error:
            self._give_up(error)

    def forget(self, slot: int) -> None:
        """The cache stays: the next answer in this slot may share a prefix with it."""
        self._owner.pop(slot, None)

    def close(self) -> None:
        self.engine.close()

    def _fits(self, sequence: RunningSequence, limit: int) -> bool:
        return len(sequence.tokens) + limit <= self.engine.info.n_ctx

    def _guess(self, sequence: RunningSequence, x: Proposal, row: Row, plan: LookAhead) -> None:
        """Append one guess to the proposal."""
        position = len(sequence.tokens) + len(x)
        sampler = sequence.sampler
        if sequence.rule.needs_laws and not sampler.greedy:
            asked = sampler.params.temperature
            q = sampler.law(row[: self._n_vocab], x.tokens, position, asked * self.temperature.factor(asked))
            place = noise.key(sampler.seed, noise.DRAFT, position, len(sequence.tokens))
            x.dists = [] if x.dists is None else x.dists
            x.dists.append(q)
            x.tokens.append(q.sample(place))
            x.confidence.append(float(q.probs.max()))
        else:
            token, confidence = sampler.guess(row, x.tokens, position, confidence=plan.wants_confidence)
            x.tokens.append(token)
            x.confidence.append(confidence)
        x.source = self.name

    def _catch_up(self, sequence: RunningSequence, x: Proposal) -> Chunk:
        """What the draft has not read yet, as the first chunk; all but one batch of it is read at once.

        Of more than `window` tokens the older ones are left out, but for the first few of the text: much attention goes
        to those, whatever they say (Xiao et al. 2024, arXiv:2309.17453).
        """
        slot, tokens = sequence.slot, sequence.tokens
        read = self._read.setdefault(slot, [])
        if self._owner.get(slot) is not sequence:
            self._owner[slot] = sequence
            self._mend(slot)
            self._keep(slot, _common(read, tokens, 0))
        self._keep(slot, min(len(read), len(tokens) - 1 - self._skipped(slot)))
        skipped = self._skipped(slot)
        batch = max(1, self.engine.info.n_batch // self.engine.info.n_slots)
        most = len(tokens) if self.window is None else self.window + 1
        if len(tokens) - len(read) - skipped > most and len(read) < _FIRST:
            self._forward(slot, tokens[len(read) : _FIRST])
        if len(tokens) - len(read) - skipped > most:
            place, _ = self._hole.get(slot, (len(read), 0))
            self._keep(slot, place)
            skipped = len(tokens) - most - len(read)
            self._hole[slot] = len(read), skipped
        x.behind = len(tokens) - skipped - len(read)
        while len(tokens) - skipped - len(read) > batch:
            self._forward(slot, tokens[len(read) + skipped : len(read) + skipped + batch])
        return Chunk(slot, len(read), self._readable(tokens[len(read) + skipped :]), want=1)

    def _after(self, sequence: RunningSequence, token: int) -> Chunk:
        """What to read to guess on behind a guess."""
        return Chunk(sequence.slot, len(self._read[sequence.slot]), (token,), want=1, guesses=1)

    def _passed(self, chunks: Sequence[Chunk]) -> None:
        """A pass of these chunks has ended."""
        for chunk in chunks:
            self._read[chunk.slot].extend(chunk.tokens)

    def _readable(self, tokens: Sequence[int]) -> Sequence[int]:
        """The tokens as the draft can read them: ids that only the target has (padding) become its first."""
        most = self.engine.info.n_vocab
        if most >= self._n_vocab or max(tokens, default=0) < most:
            return tokens
        return [token if token < most else 0 for token in tokens]

    def _skipped(self, slot: int) -> int:
        """Tokens of the text that the slot's cache leaves out."""
        hole = self._hole.get(slot)
        return hole[1] if hole is not None else 0

    def _mend(self, slot: int) -> None:
        """Forget what was read behind a hole: from here on the cache is the text again."""
        hole = self._hole.pop(slot, None)
        if hole is not None:
            self._keep(slot, hole[0])

    def _forward(self, slot: int, tokens: Sequence[int]) -> None:
        read = self._read[slot]
        batch = self.engine.info.n_batch
        for at in range(0, len(tokens), batch):
            piece = tokens[at : at + batch]
            self.engine.forward([Chunk(slot, len(read), self._readable(piece))])
            read.extend(piece)

    def _keep(self, slot: int, length: int) -> None:
        """Take the slot back to `length` tokens; further, where the engine has no state of so many."""
        read = self._read[slot]
        if length < len(read):
            length = self.engine.reachable(slot, length)
            self.engine.rewind(slot, length)
            del read[length:]
            if length < self._hole.get(slot, (0, 0))[0]:
                del self._hole[slot]

    def _make_room(self) -> None:
        """The slots share the cache: what ended answers left in it goes, and this round is not guessed further."""
        for slot in self._read:
            if slot not in self._owner:
                self._keep(slot, 0)

    def _give_up(self, error: EngineError) -> None:
        self.failure = Reason("draft_failed", {"error": error.reason_or_words})
        self._hole.clear()
        for slot in list(self._read):
            self._read[slot] = []


def _common(read: Sequence[int], tokens: Sequence[int], start: int) -> int:
    """How far `read` agrees with a text that continues `tokens` at position `start`: the length to keep."""
    end = min(len(read), start + len(tokens))
    for at in range(start, end):
        if read[at] != tokens[at - start]:
            return at
    return end
