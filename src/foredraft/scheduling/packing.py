"""Packing of a pass: whose rounds are in it, and which pieces of prompts."""

from __future__ import annotations

from foredraft.core.params import MAX_DRAFT
from foredraft.engines.base import Chunk, Engine
from foredraft.scheduling.exact_prefill import Cut, cut_of
from foredraft.scheduling.request import ScheduledRequest
from foredraft.scheduling.slots import Slots
from foredraft.speculative.sequence import RunningSequence

PREFILL_BESIDE_OTHERS = 128
"""Prompt tokens read in one pass while answers are running: their longest wait is one such piece."""
FAIR_SHARE = 16
"""Every prompt that is being read gets at least this many tokens of a pass, while there is room."""


class Packer:
    """Shares the rows and tokens of each pass among the answers that are there."""

    def __init__(self, engine: Engine, slots: Slots) -> None:
        self.engine = engine
        self.slots = slots
        self._read_last = False
        """The last pass of two kinds in turns was for prompts."""
        self._reads = 0

    def pack(
        self, active: list[ScheduledRequest]
    ) -> tuple[list[ScheduledRequest], list[Chunk], list[ScheduledRequest]]:
        """(answers with a round, pieces of prompts, whose pieces they are) of the coming pass: rounds of running
        answers, then prompt pieces in the room that is left. A prompt's last piece is read in the answer's first round,
        which guesses nothing: the first token is out a pass sooner."""
        rounds = [answer for answer in active if not unread(sequence_of(answer))]
        reading = [answer for answer in active if unread(sequence_of(answer))]
        exact, cut = self.engine.exact_rows, cut_of(self.engine)
        beside = bool(rounds)
        rounds, reading = self._of_one_kind(rounds, reading)
        n_batch, max_rows = self.engine.info.n_batch, self.engine.info.max_rows
        most = max(1, min(n_batch, max_rows or n_batch) // (MAX_DRAFT + 1))
        if exact is not None:
            most = min(most, exact)
        if len(rounds) > most:  # more answers than a pass has room for: they take turns
            rounds = sorted(rounds, key=lambda answer: answer.last_round)[:most]
        for i, answer in enumerate(rounds):  # in exact numerics they share the rows of a pass
            spare = 0 if exact is None else exact - len(rounds)
            share = None if exact is None else (spare + len(rounds) - 1 - i) // len(rounds)
            sequence_of(answer).ceiling = self._ceiling(sequence_of(answer), share)
        if exact is not None and cut is not None:  # both or neither
            return rounds, *self._exact_pieces(reading, exact, cut, PREFILL_BESIDE_OTHERS if beside else cut.most)
        room = n_batch - len(rounds) * (MAX_DRAFT + 1)
        if beside:
            room = min(room, PREFILL_BESIDE_OTHERS)
        if any(answer.scoring for answer in reading):  # then all of them are
            room = min(room, max_rows or n_batch)
        chunks, chosen = [], []
        for i, answer in enumerate(reading):
            sequence = sequence_of(answer)
            share = max(room // (len(reading) - i), min(room, FAIR_SHARE))
            left = unread(sequence) + 1
            stop = next((at - sequence.n_read for at in answer.stops if at > sequence.n_read), left)
            if left <= share and len(rounds) < most and stop >= left and not answer.scoring:
                sequence.ceiling = 0
                rounds.append(answer)
                room -= left
                continue
            piece = sequence.tokens[sequence.n_read : sequence.n_read + min(left - 1, share, stop)]
            if not piece:
                break
            chunks.append(_piece(answer, len(piece)))
            chosen.append(answer)
            room -= len(piece)
        return rounds, chunks, chosen

    def _of_one_kind(
        self, rounds: list[ScheduledRequest], reading: list[ScheduledRequest]
    ) -> tuple[list[ScheduledRequest], list[ScheduledRequest]]:
        """Who is in a pass together: in exact numerics prompts are read apart from rounds, and in any those whose own
        log probabilities are wanted, which take all its rows. Passes of both kinds come in turns."""
        if not reading:
            return rounds, reading
        apart = [answer for answer in reading if answer.scoring or self.engine.exact_rows is not None]
        others = [answer for answer in reading if answer not in apart]
        if not apart or not (rounds or others):
            return rounds, reading
        self._read_last = not self._read_last
        return ([], apart) if self._read_last else (rounds, others)

    def _ceiling(self, sequence: RunningSequence, share: int | None) -> int | None:
        """The most guesses of a round: what the engine can take back, and the answer's share of the pass."""
        limit = self.engine.rewind_limit
        if limit.free:
            return share
        able = limit.guesses(self.engine.owed(sequence.slot))
        return min((most for most in (able, share) if most is not None), default=None)

    def _exact_pieces(
        self, reading: list[ScheduledRequest], exact: int, cut: Cut, most: int
    ) -> tuple[list[Chunk], list[ScheduledRequest]]:
        """What is read of prompts in one pass of exact numerics (`exact_prefill.py`): one large piece, alone, of about
        `most` tokens, or pieces of what is left over, together at most `exact` tokens. Prompts take turns."""
        chunks: list[Chunk] = []
        chosen: list[ScheduledRequest] = []
        room = exact
        for answer in sorted(reading, key=lambda answer: answer.last_read):
            sequence = sequence_of(answer)
            start, ends = sequence.n_read, self.slots.blocks(sequence.n_prompt)
            if start < ends:
                # with rows always in the same pieces, so that not even their last digits depend on what else runs
                size = cut.size(start, ends, PREFILL_BESIDE_OTHERS if answer.scoring else most)
                if chunks:
                    continue
            else:
                size = min(room, unread(sequence))
            chunks.append(_piece(answer, size))
            chosen.append(answer)
            self._reads += 1
            answer.last_read = self._reads
            room -= size
            if room <= 0:
                break
        return chunks, chosen


def sequence_of(answer: ScheduledRequest) -> RunningSequence:
    assert answer.sequence is not None, "a running answer has a sequence"
    return answer.sequence


def _piece(answer: ScheduledRequest, size: int) -> Chunk:
    """The next tokens of a text to read, with their rows where the prompt's log probabilities are wanted."""
    sequence = sequence_of(answer)
    start = sequence.n_read
    return Chunk(sequence.slot, start, sequence.tokens[start : start + size], want=size if answer.scoring else 0)


def unread(sequence: RunningSequence) -> int:
    """Tokens to read before the next round: of the prompt, or of everything when the cells had to be given back."""
    return len(sequence.tokens) - 1 - sequence.n_read
