"""One answer's statistics in the words of each dialect: LM Studio's `stats`, llama.cpp's `timings`, OpenAI's `usage`.

docs/reference/api.md has the table of what every field means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foredraft.scheduling.request import Generation
from foredraft.scheduling.stream import Piece

STOP_REASONS = {
    "eos": "eosFound",
    "stop": "stopStringFound",
    "length": "maxPredictedTokensReached",
    "context": "contextLengthReached",
    "cancelled": "userStopped",
    "error": "failed",
}
"""Ours to LM Studio's."""


def usage(answers: Sequence[Generation], *, reasoning_tokens: int = 0, predicted: bool = False) -> dict[str, Any]:
    """OpenAI's usage object over all choices. `accepted_prediction_tokens` counts guesses of every source that stand in
    the answer, or those of the request's `prediction` where it gave one."""
    prompt = answers[0].stats.prompt_tokens if answers else 0
    written = sum(answer.stats.tokens for answer in answers)
    accepted = rejected = 0
    for answer in answers:
        counts: Any = answer.stats
        if predicted:
            counts = answer.stats.by_source.get("prediction")
        if counts is not None:
            accepted += counts.accepted
            rejected += counts.rejected
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": answers[0].stats.cached_tokens if answers else 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning_tokens,
            "accepted_prediction_tokens": accepted,
            "rejected_prediction_tokens": rejected,
        },
    }


def stats(answer: Generation) -> dict[str, Any]:
    """LM Studio's stats. The draft's counts are there whenever a draft guessed; `speculation` always says what it did
    and why."""
    of = answer.stats
    result: dict[str, Any] = {
        "tokens_per_second": round(of.tokens_per_second, 3),
        "time_to_first_token": round(of.time_to_first_token_s, 6),
        "generation_time": round(of.generation_s, 6),
        "stop_reason": STOP_REASONS.get(answer.stop_reason, answer.stop_reason),
        "speculation": answer.speculation.as_dict(),
        "seed": answer.seed,
    }
    if answer.draft is not None and answer.speculation.status != "off":
        result["draft_model"] = answer.draft
    if of.drafted or "draft_model" in result:
        result |= {
            "total_draft_tokens_count": of.drafted,
            "accepted_draft_tokens_count": of.accepted,
            "rejected_draft_tokens_count": of.rejected,
            "ignored_draft_tokens_count": of.ignored,
        }
    return result


def timings(answer: Generation) -> dict[str, Any]:
    """llama.cpp's timings, in milliseconds. `prompt_n` are the prompt tokens really read."""
    of = answer.stats
    read = of.prompt_tokens - of.cached_tokens
    result = {
        "cache_n": of.cached_tokens,
        "prompt_n": read,
        "prompt_ms": round(of.prefill_s * 1e3, 3),
        "prompt_per_token_ms": round(of.prefill_s * 1e3 / read, 3) if read else 0.0,
        "prompt_per_second": round(read / of.prefill_s, 3) if of.prefill_s else 0.0,
        "predicted_n": of.tokens,
        "predicted_ms": round(of.generation_s * 1e3, 3),
        "predicted_per_token_ms": round(of.generation_s * 1e3 / of.tokens, 3) if of.tokens else 0.0,
        "predicted_per_second": round(of.tokens_per_second, 3),
    }
    if of.drafted:
        result |= {"draft_n": of.drafted, "draft_n_accepted": of.accepted}
    return result


def explanation(answer: Generation) -> dict[str, Any]:
    """Everything counted (`speculative.explain`): rounds, depth, sources, time saved, numerics."""
    numerics = answer.numerics
    return {
        **answer.stats.as_dict(),
        "draft_model": answer.draft,
        "speculation": answer.speculation.as_dict(),
        "numerics": None if numerics is None else numerics.as_dict(),
    }


def origins(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Where each token of a chunk came from (`speculative.explain`)."""
    return [
        {
            "token": piece.token,
            "text": piece.text,
            "origin": piece.origin,
            "draft_position": piece.draft_position,
            "source": piece.source,
        }
        for piece in pieces
    ]
