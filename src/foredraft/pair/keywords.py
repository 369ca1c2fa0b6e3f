"""The keyword arguments of an answer, as editors complete them and type checkers hold to them, and what they ask for.

The names, defaults and ranges of the sampling are those of `SamplingParams`, the rest those of `GenerationRequest`
(`tests/test_llm_keywords.py` compares them); this is the form in which a call takes them:
`llm.chat("Hello", temperature=0, max_tokens=50)`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, cast

from foredraft.core.errors import EmptyPromptError, ParameterError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.core.reasons import Reason
from foredraft.pair.stream import Progress
from foredraft.pair.structure import Schema, Structure
from foredraft.pair.tools import Tool, tool_of
from foredraft.requests.generation_request import GenerationRequest

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


class RequestKeywords(SamplingKeywords, total=False):
    """What can be asked of any request, beside single fields of `SamplingParams` (`temperature`, `seed` …)."""

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


class AnswerKeywords(RequestKeywords, total=False):
    """What can be asked of an answer, beside what `RequestKeywords` has."""

    schema: Schema | None
    """The answer is JSON of this schema: a dict, its text, a pydantic model or another type; `Answer.parsed`."""
    grammar: str | None
    """The answer is of this grammar, in llguidance's Lark."""
    logprobs: int | None
    """Log probabilities of the answer's tokens, with so many likely others (0: of the tokens alone)."""
    progress: Progress | None
    """Called with "prompt" and the share of it that was read; for several answers with "answers" and the share that has
    ended."""


class ChatKeywords(AnswerKeywords, total=False):
    """What can be asked of the answer to a conversation, beside what `AnswerKeywords` has."""

    tools: Sequence[Tool]
    """What the model may call: tools in OpenAI's form, or Python functions with types; `Answer.tool_calls`."""
    tool_choice: str
    """auto, none, required, or the name of one tool."""
    prefill: str | None
    """The beginning of the answer, which goes on behind it."""
    template_variables: Mapping[str, Any] | None
    """What the chat template is given beside the messages: `{"enable_thinking": False}`."""
    truncate: bool
    """Leave the oldest messages out when the conversation does not fit."""


_SAMPLING = tuple(SamplingKeywords.__annotations__)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A request that lacks what is to be answered, and what its answer must be."""

    request: GenerationRequest
    structure: Structure | None = None
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """As it was given."""

    def prompt(self, prompt: Prompt) -> Request | GenerationRequest:
        """To go on with a text or with token ids, or a request that was made beforehand."""
        if isinstance(prompt, (Request, GenerationRequest)):
            for name, value in self.given.items():
                if name == "progress":
                    continue
                raise ParameterError(name, value, "left out: the request that was made beforehand has its own")
            return prompt
        if isinstance(prompt, bytes):
            raise ParameterError("prompt", prompt, Reason("allowed_prompt_decoded"))
        if not isinstance(prompt, str) and not all(isinstance(token, int) for token in prompt):
            raise ParameterError("prompt", prompt, Reason("allowed_prompt"))
        if not prompt:
            raise EmptyPromptError
        return dataclasses.replace(self.request, prompt=prompt, warnings=[])

    def conversation(self, messages: Conversation) -> GenerationRequest:
        """To answer a conversation."""
        if not messages:
            raise EmptyPromptError
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        prefill = self.given.get("prefill")
        if prefill:
            said.append({"role": "assistant", "content": prefill})
        return dataclasses.replace(self.request, messages=said, continue_last=True if prefill else None, warnings=[])


def asked(given: Mapping[str, Any], names: type[Any]) -> Asked:
    """What keyword arguments ask for; `names` declares them. Raises `ParameterError` for those that nobody knows, and
    for values that cannot be."""
    check_names(given, names.__annotations__)
    fields = {name: value for name, value in given.items() if name in _SAMPLING}
    stop, schema, logprobs = given.get("stop") or (), given.get("schema"), given.get("logprobs")
    if logprobs is not None and (isinstance(logprobs, bool) or not isinstance(logprobs, int) or logprobs < 0):
        raise ParameterError("logprobs", logprobs, "a whole number of at least 0, or None")
    structure = None if schema is None else Structure.of(schema)
    request = GenerationRequest(
        sampling=dataclasses.replace(given.get("sampling") or SamplingParams(), **fields),
        speculation=given.get("speculation") or SpeculationParams(),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        max_tokens=given.get("max_tokens"),
        prediction=given.get("prediction") or "",
        ignore_eos=given.get("ignore_eos", False),
        top_logprobs=logprobs,
        schema=None if structure is None else structure.schema,
        grammar=given.get("grammar") or "",
        tools=tuple(tool_of(tool) for tool in given.get("tools") or ()),
        tool_choice=given.get("tool_choice", "auto"),
        template_variables=given.get("template_variables"),
        truncate=given.get("truncate", False),
    )
    Request(prompt=(), stop=request.stop, max_tokens=request.max_tokens)  # raises what is wrong with these
    return Asked(request, structure, given)


def listed(prompt: Prompt | Prompts) -> tuple[list[Prompt], bool]:
    """(the prompts, whether it was one and no list of them). Nothing at all is one empty prompt."""
    one = isinstance(prompt, (str, bytes, Request, GenerationRequest))
    return _listed(prompt, one or not prompt or isinstance(cast(Sequence[Any], prompt)[0], int))


def listed_conversations(messages: Conversation | Conversations) -> tuple[list[Conversation], bool]:
    """The same of conversations."""
    return _listed(messages, isinstance(messages, str) or not messages or isinstance(messages[0], Mapping))


def _listed(given: Any, one: bool) -> tuple[list[Any], bool]:
    return ([given], True) if one else (list(given), False)


def check_names(given: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    """Raises `ParameterError` for a parameter that `names` has not, with the nearest name."""
    known = sorted(names)
    for name, value in given.items():
        if name not in names:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ParameterError(name, value, f"left out: the parameters are {', '.join(known)}.{meant}")


Ask = Callable[[Any], Request | GenerationRequest]
"""From a prompt or a conversation to a request."""
