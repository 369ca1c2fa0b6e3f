"""One round of speculative decoding for every running sequence.

Leviathan, Kalman & Matias 2023 (arXiv:2211.17192), Algorithm 1, batched; with γ = 0 it is plain decoding.
Before and after a round the target has read every token of a sequence but the last; before the first one more of the
prompt may be left, which the same pass reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from foredraft.core.errors import NonFiniteLogitsError
from foredraft.engines.base import Chunk, Engine, Logits
from foredraft.speculative.controllers.base import DraftController
from foredraft.speculative.drafters.base import Drafter
from foredraft.speculative.proposal import Proposal, Verification
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence


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

    # rows of prompts follow those of the sequences, and are nobody's here
    settled = [settle(*one, target) for one in zip(sequences, proposals, rows, strict=False)]
    record = Round(
        sequences,
        proposals,
        verdicts=[verdict for verdict, _ in settled],
        emitted=[emitted for _, emitted in settled],
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


def settle(sequence: RunningSequence, x: Proposal, logits: Logits, target: Engine) -> tuple[Verification, int]:
    """Judge one sequence's guesses x by the target's rows of logits, grow by what stands, and take back the rest.

    Returns the verdict and the number of tokens the sequence grew by. NaN logits end the sequence with their error.
    """
    read = len(sequence.tokens) + len(x)  # tokens of it that the target has read now, guesses included
    laws = sequence.sampler.laws(logits, x.tokens, len(sequence.tokens))  # p1..p(γ+1), lazy
    try:
        verdict = sequence.rule.accept(laws, x)  # how many of x, and one token of the target's own
    except NonFiniteLogitsError as error:
        sequence.fail(error)
        sequence.n_read = target.reachable(sequence.slot, sequence.n_read)
        target.rewind(sequence.slot, sequence.n_read)
        return Verification.failed(), 0
    emitted = sequence.extend([*x.tokens[: verdict.accepted], verdict.token])
    if sequence.observer is not None:
        sequence.observer(laws, x, verdict, emitted)
    sequence.sampler.commit(emitted)  # the state follows emitted tokens only
    sequence.n_read = len(sequence.tokens) - 1
    if sequence.n_read < read:
        target.rewind(sequence.slot, sequence.n_read)
    return verdict, len(emitted)


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
