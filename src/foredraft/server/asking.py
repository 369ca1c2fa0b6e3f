"""From a question in any dialect to running answers: find or load the model, write the prompt, submit.

`Question` is what every dialect's `convert.py` makes; `ask` is the only way from the server to the runtime, and the
app's too.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from foredraft.core.errors import ModelError, ModelNotFoundError, ParameterError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.formats.answer_grammar import left_out_of, schema_grammar, tools_grammar
from foredraft.formats.response_parser import ResponseParser
from foredraft.formats.table import BARE
from foredraft.grammars.constraints import GrammarConstraint, GrammarError, lark_grammar
from foredraft.pair.llm import LLM
from foredraft.runtime.errors import ModelUnloadedError
from foredraft.runtime.events import Event, Failed, Finished
from foredraft.runtime.handle import RequestHandle
from foredraft.scheduling.request import Generation, SpeculationStatus
from foredraft.server.errors import RequestError
from foredraft.server.lenient import note, noted
from foredraft.server.naming import named_model
from foredraft.server.prompting import Prepared
from foredraft.server.services import Services

ANY_JSON: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, in no dialect. Either `messages` (a conversation) or `prompt` (text or tokens to continue)."""

    model: str = ""
    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | Sequence[int] | None = None
    suffix: str = ""
    """What stands behind the text that is wanted: the model fills in between `prompt` and this. Empty: it goes on."""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationParams = field(default_factory=SpeculationParams)
    draft: str = "auto"
    """The draft that should guess: auto (whichever is loaded), off, or a name, which is loaded first."""
    draft_required: bool = False
    """Refuse the request rather than answer without the draft."""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    n: int = 1
    """Answers wanted; with a seed they get seed, seed + 1, …"""
    prediction: str = ""
    top_logprobs: int | None = None
    """Log probabilities of the answer's tokens, with so many likely others; None is none."""
    prompt_logprobs: int | None = None
    """The same of the prompt's tokens."""
    schema: Mapping[str, Any] | bool | None = None
    """The answer must be JSON of this schema."""
    grammar: str = ""
    """The answer must be of this grammar (llguidance's Lark)."""
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str = "auto"
    """auto, none, required, or the name of one tool."""
    several_calls: bool = True
    tool_format: str = ""
    """The name of the form that calls and thinking are written in; empty: what the model's template says."""
    continue_last: bool | None = None
    """Whether the last message, where it is the assistant's, is the beginning of the answer; None: it is."""
    generation_prompt: bool = True
    """The template opens the assistant's turn."""
    truncate: bool = False
    """Leave the oldest messages out when the conversation does not fit."""
    template: str = ""
    """A chat template (Jinja) instead of the model's own."""
    template_variables: Mapping[str, Any] | None = None
    context: int | None = None
    """Tokens of context the model must have; one that is loaded for this request gets them."""
    ttl_s: float | None = -1.0
    """Idle seconds after which a model loaded for this request may leave; -1 takes the server's default, None never."""
    ignore_eos: bool = False
    session: str = ""
    """The conversation's name, by which it keeps to its own cached prefix (`sessions.py`)."""
    warnings: list[str] = field(default_factory=noted)
    """What of the request was left out, a sentence each (`lenient.py`): the answer repeats it."""
    answer_id: str = ""
    keep: bool = False
    """Can be followed again by its id (`Runtime.answer`)."""


@dataclass(slots=True)
class Choice:
    """One running answer, with what is needed to read its text."""

    index: int
    running: RequestHandle
    reader: ResponseParser
    predicted: bool = False
    draft_problem: str = ""
    """Why the draft that was named does not guess; empty where it does."""
    services: Services | None = None

    async def events(self) -> AsyncIterator[Event]:
        """What happens to it, to the end. An error that ends it is raised."""
        async for event in self.running.events():
            if isinstance(event, Failed):
                raise event.error
            yield Finished(self._said(event.generation)) if isinstance(event, Finished) else event

    async def result(self) -> Generation:
        """Wait for the end. Raises the error that ended it."""
        return self._said(await self.running.result())

    def _said(self, generation: Generation) -> Generation:
        if self.services is not None and generation.draft is not None:
            state = self.services.runtime.state(self.running.model_id)
            draft = state.draft_info if state is not None else None
            if draft is not None and draft.name == generation.draft:
                generation = dataclasses.replace(generation, draft=self.services.name_of(draft))
        if not self.draft_problem:
            return generation
        return dataclasses.replace(generation, speculation=SpeculationStatus("unavailable", self.draft_problem))


@dataclass(slots=True)
class Asked:
    """A question that has been accepted."""

    model_id: str
    choices: list[Choice]
    load_s: float | None
    """Seconds that loading the model took, where it was loaded for this request."""
    thinking: bool
    warnings: Sequence[str] = ()
    """What of the request was left out."""

    def cancel(self) -> None:
        for choice in self.choices:
            choice.running.cancel()


async def ask(services: Services, question: Question) -> Asked:
    """Submit a question; returns when every answer has been accepted. Raises what is wrong with it."""
    if question.n < 1 or question.n > services.settings.max_answers:
        raise ParameterError("n", question.n, f"a whole number from 1 to {services.settings.max_answers}")
    for _ in range(3):
        model_id, load_s = await find_model(
            services, question.model, question.draft, question.ttl_s, context=question.context
        )
        try:
            return await _submit(services, question, model_id, load_s)
        except ModelUnloadedError:  # it left between the two steps; asked for again
            continue
    raise ModelUnloadedError(question.model)


async def _submit(services: Services, question: Question, model_id: str, load_s: float | None) -> Asked:
    runtime = services.runtime
    if services.settings.log_prompts:
        services.journal.write("prompt", str(question.messages or question.prompt), model=model_id)
    with runtime.use(model_id) as loaded:
        model = cast(LLM, loaded)
        draft, problem = await asyncio.to_thread(_draft_name, services, question)
        if problem:
            question = dataclasses.replace(question, draft="off")
        prepared = await services.pools.prompts.run(services.prompts.prepare, model, question)
        constraints = await _constraints(services, question, model_id, model, prepared)
        choices = []
        for i in range(question.n):
            running = runtime.submit(
                model_id,
                _with_seed(prepared.request, i),
                constraint=constraints[i],
                top_logprobs=question.top_logprobs,
                prompt_logprobs=question.prompt_logprobs,
                draft=draft,
                draft_required=question.draft_required,
                answer_id=question.answer_id if i == 0 else "",
                keep=question.keep,
            )
            reader = ResponseParser(prepared.thinking, prepared.tool_format, begun=prepared.begun, tools=question.tools)
            choices.append(Choice(i, running, reader, bool(question.prediction), problem, services))
    asked = Asked(model_id, choices, load_s, prepared.thinking, question.warnings)
    try:
        for choice in choices:
            await choice.running.accepted()
    except BaseException:
        asked.cancel()
        raise
    if question.draft_required:
        _check_draft(services, asked)
    return asked


def _check_draft(services: Services, asked: Asked) -> None:
    state = services.runtime.state(asked.model_id)
    if state is not None and state.draft_info is None:
        asked.cancel()
        raise RequestError(
            f"There is no draft to guess with: {state.speculation.reason}",
            param="draft_model",
            hint="Leave draft_required out to go on without one.",
        )


async def find_model(
    services: Services,
    name: str,
    draft: str = "auto",
    ttl_s: float | None = -1.0,
    *,
    kind: str = "text",
    context: int | None = None,
) -> tuple[str, float | None]:
    """(id of the loaded model, seconds it took to load it or None). Loads it where that is allowed, with so much
    `context` (None: as the settings say). Raises as `named_model` does."""
    runtime, settings = services.runtime, services.settings
    model_id, spec = await named_model(services, name, draft, kind=kind)
    state = runtime.state(model_id)
    if state is not None and state.info is not None and context is not None and state.info.n_ctx < context:
        raise RequestError(
            f"{model_id} is loaded with a context of {state.info.n_ctx} tokens; {context} are asked for.",
            param="context_length",
            hint="Unload it first, or leave context_length out.",
        )
    if spec is None or (state is not None and state.status in ("ready", "changing")):
        return model_id, None
    if not settings.load_on_demand:
        raise RequestError(
            f"{model_id} is not loaded.", param="model", status=404, hint="Load it, or allow loading on request."
        )
    ttl = settings.ttl_s if ttl_s == -1.0 else ttl_s
    given = spec.settings if context is None else {**spec.settings, "context": context}
    model_id = await runtime.load(dataclasses.replace(spec, ttl_s=ttl, on_demand=True, settings=given))
    state = runtime.state(model_id)
    return model_id, state.load_s if state is not None else None


def _draft_name(services: Services, question: Question) -> tuple[str, str]:
    """(the draft as the runtime knows it, why it cannot be used or ""). "off" leaves the loaded one where it is: the
    request switches it off."""
    if question.draft in ("auto", "off"):
        return "auto", ""
    try:
        return (services.shelf.draft(question.draft) if services.shelf is not None else question.draft), ""
    except ModelError as error:
        if question.draft_required:
            status = 404 if isinstance(error, ModelNotFoundError) else 400
            raise RequestError(error.message, param="draft_model", hint=error.hint, status=status) from None
        return "auto", str(error)


async def _constraints(
    services: Services, question: Question, model_id: str, model: LLM, prepared: Prepared
) -> list[GrammarConstraint | None]:
    """A constraint for each answer, or None for free text."""
    param = "response_format.json_schema.schema"
    compiled = services.pools.grammars.run
    unkept: list[str] = []
    try:
        if question.tools and question.tool_choice not in ("auto", "none"):
            param = "tools"
            named = [t for t in question.tools if question.tool_choice in ("required", t["function"]["name"])]
            if not named:
                raise RequestError(f"There is no tool {question.tool_choice!r}.", param="tool_choice")
            if question.schema is not None or question.grammar:
                raise RequestError("A forced tool call has the form of the tool.", param="response_format")
            form = prepared.tool_format or BARE
            several = question.several_calls and question.tool_choice == "required"
            grammar = await compiled(tools_grammar, named, form, several=several, thinking=prepared.thinking)
            unkept = await compiled(
                left_out_of, {t["function"]["name"]: t["function"].get("parameters") for t in named}
            )
        elif question.schema is not None:
            way = {"thinking": prepared.thinking, "form": prepared.tool_format}
            grammar = await compiled(schema_grammar, question.schema, **way)
            unkept = await compiled(left_out_of, {"": question.schema})
        elif question.grammar:
            param = "grammar"
            grammar = await compiled(lark_grammar, question.grammar)
        else:
            return [None] * question.n
        for sentence in unkept:
            note(f"{param}: {sentence}", question.warnings)
        vocabulary = await services.vocabularies.of(model_id, model)
        first = await compiled(GrammarConstraint, vocabulary, grammar)
        return [first, *(first.again() for _ in range(question.n - 1))]
    except GrammarError as error:
        where = f"{param}.{error.path}" if error.path else param
        raise RequestError(error.message, param=where) from None


def _with_seed(request: Request, i: int) -> Request:
    seed = request.sampling.seed
    if i == 0 or seed is None:
        return request
    return dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, seed=(seed + i) % 2**64))
