"""One round of speculative decoding for every running sequence.

Leviathan, Kalman & Matias 2023 (arXiv:2211.17192), Algorithm 1, batched; with γ = 0 it is plain decoding.
Before and after a round the target has read every token of a sequence but the last; before the first one more of the
prompt may be left, which the same pass reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from foredraft.core.errors import NonFiniteLogitsError
from foredraft.engines.base import Chunk, Engine
from foredraft.speculative.controllers.base import DraftController
from foredraft.speculative.drafters.base import Drafter
from foredraft.speculative.proposal import Round, Verification
from foredraft.speculative.sequence import Sequence as RunningSequence


def run_round(
    sequences: Sequence[RunningSequence],
    target: Engine,
    drafter: Drafter,
    controller: DraftController,
    prefill: Sequence[Chunk] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Round:
    """Draft, verify, accept, rewind: every sequence grows by one to γ + 1 tokens of the target's own law.

    `prefill` are prompt pieces of sequences that are not running yet; they share the pass. An `EngineError` leaves
    every sequence as it was. A sequence whose logits are NaN ends with its error; the others go on.
    """
    began = clock()
    for sequence in sequences:
        sequence.owed = target.owed(sequence.slot)
    plans = controller.plan(sequences)
    proposals = drafter.propose(sequences, plans)  # x1..xγ, each with the q it was drawn from
    proposals = [sequence.sent(x) for sequence, x in zip(sequences, proposals, strict=True)]
    drafted = clock()

    chunks = [sequence.verify_chunk(x) for sequence, x in zip(sequences, proposals, strict=True)]
    read = [*chunks, *prefill]
    rows = target.forward(read)  # one pass reads everything
    drafter.target_read(read)
    verified = clock()

    verdicts, grown = [], []
    for sequence, x, chunk, logits in zip(sequences, proposals, chunks, rows, strict=False):
        laws = sequence.sampler.laws(logits, x.tokens, len(sequence.tokens))  # p1..p(γ+1), lazy
        try:
            verdict = sequence.rule.accept(laws, x)  # how many of x, and one token of the target's own
        except NonFiniteLogitsError as error:
            sequence.stop_reason, sequence.error = "error", error
            verdicts.append(Verification(0, -1, "error", tested=0))
            grown.append(0)
            sequence.n_read = target.reachable(sequence.slot, sequence.n_read)
            target.rewind(sequence.slot, sequence.n_read)
            continue
        emitted = sequence.extend([*x.tokens[: verdict.accepted], verdict.token])
        if sequence.observer is not None:
            sequence.observer(laws, x, verdict, emitted)
        sequence.sampler.commit(emitted)  # the state follows emitted tokens only
        keep = len(sequence.tokens) - 1
        if keep < chunk.start + len(chunk.tokens):
            target.rewind(sequence.slot, keep)
        sequence.n_read = keep
        verdicts.append(verdict)
        grown.append(len(emitted))

    record = Round(
        sequences,
        proposals,
        verdicts,
        grown,
        draft_s=drafted - began,
        verify_s=verified - drafted,
        total_s=clock() - began,
        rows=sum(chunk.want for chunk in chunks),
        prefill_tokens=sum(len(chunk.tokens) - chunk.want for chunk in read),
        own_prompt=[len(chunk.tokens) - chunk.want for chunk in chunks],
        replayed=sum(sequence.owed for sequence in sequences),
    )
    drafter.observe(record)
    controller.observe(record)
    _count(record)
    return record


def _count(record: Round) -> None:
    """Each sequence's statistics of the round. Time for its own prompt is none of the round's."""
    other_s = record.total_s - record.draft_s - record.verify_s
    for sequence, x, verdict, kept, prompt in zip(
        record.sequences, record.proposals, record.verdicts, record.emitted, record.own_prompt, strict=True
    ):
        if verdict.kind == "error":
            continue
        stats = sequence.stats
        stats.draft_s += record.draft_s
        stats.verify_s += record.verify_s * (record.rows_share if prompt else 1.0)
        stats.other_s += other_s
        stats.count_round(x.source, len(x), verdict.accepted, verdict.kind == "corrected", kept, x.draft_s)
