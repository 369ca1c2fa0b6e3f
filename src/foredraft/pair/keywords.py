"""The keyword arguments of an answer, as editors complete them and type checkers hold to them.

The names, defaults and ranges are those of `SamplingParams` and `Request` (`tests/test_llm_keywords.py` compares them);
this is the form in which a call can take them: `llm.generate(prompt, temperature=0, max_tokens=50)`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from foredraft.core.errors import EmptyPromptError, ParameterError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.core.reasons import Reason
from foredraft.requests.generation_request import GenerationRequest
from foredraft.speculative.acceptance import AcceptanceRule

Message = Mapping[str, Any]
"""A message of a conversation in OpenAI's form: `{"role": "user", "content": "Hello"}`."""
Conversation = str | Sequence[Message]
"""Messages, or the text of one message of the user's."""
Conversations = list[str] | Sequence[Sequence[Message]]
Prompt = str | Sequence[int] | Request | GenerationRequest
"""A text or token ids to continue, or a request made beforehand."""
Prompts = list[str] | Sequence[Sequence[int]] | Sequence[Request] | Sequence[GenerationRequest]


class SamplingKeywords(TypedDict, total=False):
    """Single fields of `SamplingParams`, instead of `sampling`'s."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    penalty_last_n: int
    logit_bias: Mapping[int, float]
    seed: int | None


class AnswerKeywords(SamplingKeywords, total=False):
    """What can be asked of one answer."""

    sampling: SamplingParams | None
    """All of the sampling at once."""
    speculation: SpeculationParams | None
    """How the draft is used. The text does not depend on it."""
    stop: str | Sequence[str]
    """The answer ends before the first of these texts."""
    max_tokens: int | None
    """Most tokens of the answer; None ends at end of generation or the context's end."""
    prediction: str | None
    """Text that is expected in the answer: a free source of guesses."""
    ignore_eos: bool
    """Go on past end of generation (benchmarks)."""


_SAMPLING = tuple(field.name for field in dataclasses.fields(SamplingParams))
_NAMES = tuple(sorted(AnswerKeywords.__annotations__))


def check_names(given: Mapping[str, Any]) -> None:
    """Raises `ParameterError` for a parameter that nobody knows, with the nearest name."""
    for name, value in given.items():
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ParameterError(name, value, f"left out: the parameters are {', '.join(_NAMES)}.{meant}")


def sampling_of(given: AnswerKeywords) -> SamplingParams:
    """All of the sampling: `sampling`, with the single fields instead of its own."""
    fields = {name: value for name, value in given.items() if name in _SAMPLING}
    return dataclasses.replace(given.get("sampling") or SamplingParams(), **cast(dict[str, Any], fields))


def request_of(given: AnswerKeywords, rule: str | AcceptanceRule | type[AcceptanceRule]) -> GenerationRequest:
    """A request but for what is to be answered; `rule` judges guesses where it says nothing of speculation. Raises
    `ParameterError`."""
    check_names(given)
    stop = given.get("stop", ())
    return GenerationRequest(
        sampling=sampling_of(given),
        speculation=given.get("speculation") or SpeculationParams(acceptance=rule),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        max_tokens=given.get("max_tokens"),
        prediction=given.get("prediction") or "",
        ignore_eos=given.get("ignore_eos", False),
    )


def with_prompt(request: GenerationRequest, prompt: str | Sequence[int]) -> GenerationRequest:
    """To go on with a text, or with token ids. Raises `ParameterError`, `EmptyPromptError`."""
    if isinstance(prompt, bytes):
        raise ParameterError("prompt", prompt, Reason("allowed_prompt_decoded"))
    if not isinstance(prompt, str) and not all(isinstance(token, int) for token in prompt):
        raise ParameterError("prompt", prompt, Reason("allowed_prompt"))
    if not prompt:
        raise EmptyPromptError
    return dataclasses.replace(request, prompt=prompt)


def with_conversation(request: GenerationRequest, messages: Conversation) -> GenerationRequest:
    """To answer a conversation. Raises `EmptyPromptError`."""
    if not messages:
        raise EmptyPromptError
    turns = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return dataclasses.replace(request, messages=turns)


def listed(prompt: Prompt | Prompts) -> tuple[list[Prompt], bool]:
    """(the prompts, whether it was one and no list of them). Nothing at all is one empty prompt."""
    if isinstance(prompt, (str, bytes, Request, GenerationRequest)) or not prompt or isinstance(prompt[0], int):
        return [cast(Prompt, prompt)], True
    return [cast(Prompt, one) for one in prompt], False


def listed_conversations(messages: Conversation | Conversations) -> tuple[list[Conversation], bool]:
    """The same of conversations."""
    if isinstance(messages, str) or not messages or isinstance(messages[0], Mapping):
        return [cast(Conversation, messages)], True
    return [cast(Conversation, one) for one in messages], False
