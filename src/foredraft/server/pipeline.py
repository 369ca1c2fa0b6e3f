"""The request pipeline: find or load the model, prepare the request, submit it to the runtime.

A dialect's `convert.py` makes a `GenerationRequest`; `submit` is the only way from the server, and the app, to running
answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from foredraft.core.errors import ModelError, ModelNotFoundError, ParameterError
from foredraft.core.params import Request
from foredraft.core.reasons import Reason, sentences
from foredraft.formats.response_parser import ResponseParser
from foredraft.grammars.constraints import GrammarConstraint, GrammarError
from foredraft.requests.generation_request import GenerationRequest, TokenizedRequest
from foredraft.requests.grammar import answer_grammar, constrained_field, constraints, is_constrained
from foredraft.runtime.errors import ModelUnloadedError
from foredraft.runtime.events import Event, Failed, Finished
from foredraft.runtime.handle import RequestHandle
from foredraft.runtime.managed_model import LoadedModel
from foredraft.scheduling.request import Generation, SpeculationStatus
from foredraft.server.context import Services
from foredraft.server.errors import RequestError
from foredraft.server.limits import PROMPT_LOGPROBS
from foredraft.server.naming import named_model

ANY_JSON: Mapping[str, Any] = {"type": "object"}

T = TypeVar("T")


@dataclass(slots=True)
class Completion:
    """One running answer, with what is needed to read its text."""

    index: int
    running: RequestHandle
    parser: ResponseParser
    predicted: bool = False
    draft_problem: Reason | None = None
    """Why the draft that was named does not guess; None where it does."""
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
class Submitted:
    """A request that the runtime has."""

    model_id: str
    choices: list[Completion]
    load_s: float | None
    """Seconds that loading the model took, where it was loaded for this request."""
    tokenized: TokenizedRequest
    warnings: Sequence[str] = ()
    """What of the request was left out."""

    def cancel(self) -> None:
        for choice in self.choices:
            choice.running.cancel()


async def submit(services: Services, request: GenerationRequest) -> Submitted:
    """Submit a request; returns when every answer has been accepted. Raises what is wrong with it."""
    for _ in range(3):
        try:
            submitted = await start(services, request)
        except GrammarError as error:
            param = constrained_field(request)
            raise RequestError(error.message, param=f"{param}.{error.path}" if error.path else param) from None
        try:
            await accepted(services, request, submitted)
        except ModelUnloadedError:  # it left between the two steps; asked for again
            continue
        return submitted
    raise ModelUnloadedError(request.model)


async def with_model(
    services: Services,
    name: str,
    work: Callable[[LoadedModel], T],
    *,
    draft: str = "auto",
    ttl_s: float | None = -1.0,
) -> T:
    """What `work` in the prompts' pool makes of a model, which is loaded where that is allowed and stays meanwhile.
    Raises as `find_model` does."""
    for _ in range(3):
        model_id, _load_s = await find_model(services, name, draft, ttl_s)
        try:
            with services.runtime.use(model_id) as model:
                return await services.pools.prompts.run(work, model)
        except ModelUnloadedError:  # it left between the two steps; asked for again
            continue
    raise ModelUnloadedError(name)


async def count_tokens(services: Services, request: GenerationRequest, *, beyond: bool = False) -> int:
    """How many tokens a request's prompt has; with `beyond` also of one that does not fit."""

    def count(model: LoadedModel) -> int:
        if beyond:
            return services.preparation.count(model.engine, request)
        return len(services.preparation.prepare(model.engine, request).request.prompt)

    return await with_model(services, request.model, count, draft=request.draft, ttl_s=request.ttl_s)


async def start(services: Services, request: GenerationRequest) -> Submitted:
    """Hand a request to the runtime, without waiting for its turn. Raises what is wrong with it; `GrammarError` for a
    schema or grammar that cannot be used."""
    if request.n < 1 or request.n > services.settings.max_answers:
        raise ParameterError("n", request.n, f"a whole number from 1 to {services.settings.max_answers}")
    for _ in range(3):
        model_id, load_s = await find_model(
            services, request.model, request.draft, request.ttl_s, context=request.context
        )
        try:
            return await _start(services, request, model_id, load_s)
        except ModelUnloadedError:  # it left between the two steps; asked for again
            continue
    raise ModelUnloadedError(request.model)


async def _start(services: Services, request: GenerationRequest, model_id: str, load_s: float | None) -> Submitted:
    runtime = services.runtime
    if services.settings.log_prompts:
        services.event_log.write("prompt", str(request.messages or request.prompt), model=model_id)
    with runtime.use(model_id) as model:
        draft, problem = await asyncio.to_thread(_draft_name, services, request)
        if problem:
            request = dataclasses.replace(request, draft="off")
        tokenized = await services.pools.prompts.run(services.preparation.prepare, model.engine, request)
        if request.prompt_logprobs is not None:
            wanted = len(tokenized.request.prompt) * (1 + request.prompt_logprobs) * request.n
            PROMPT_LOGPROBS.check(wanted, "logprobs")
        grammars = await _constraints(services, request, model_id, model, tokenized)
        choices = []
        for i in range(request.n):
            running = runtime.submit(
                model_id,
                _with_seed(tokenized.request, i),
                constraint=grammars[i],
                top_logprobs=request.top_logprobs,
                prompt_logprobs=request.prompt_logprobs,
                draft=draft,
                draft_required=request.draft_required,
                answer_id=request.answer_id if i == 0 else "",
                keep=request.keep,
            )
            parser = tokenized.parser(ResponseParser)
            choices.append(Completion(i, running, parser, bool(request.prediction), problem, services))
    return Submitted(model_id, choices, load_s, tokenized, request.warnings)


async def accepted(services: Services, request: GenerationRequest, submitted: Submitted) -> None:
    """Wait until every answer has been accepted. Raises why one was not; none goes on then."""
    try:
        for choice in submitted.choices:
            await choice.running.accepted()
    except BaseException:
        submitted.cancel()
        raise
    if request.draft_required:
        _check_draft(services, submitted)


def _check_draft(services: Services, submitted: Submitted) -> None:
    state = services.runtime.state(submitted.model_id)
    if state is not None and state.draft_info is None:
        submitted.cancel()
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


def _draft_name(services: Services, request: GenerationRequest) -> tuple[str, Reason | None]:
    """(the draft as the runtime knows it, why it cannot be used or None). "off" leaves the loaded one where it is: the
    request switches it off."""
    if request.draft in ("auto", "off"):
        return "auto", None
    try:
        return (services.shelf.draft(request.draft) if services.shelf is not None else request.draft), None
    except ModelError as error:
        if request.draft_required:
            status = 404 if isinstance(error, ModelNotFoundError) else 400
            raise RequestError(error.message, param="draft_model", hint=error.hint, status=status) from None
        return "auto", sentences(error.reason_or_words, error.hint_why)


async def _constraints(
    services: Services, request: GenerationRequest, model_id: str, model: LoadedModel, tokenized: TokenizedRequest
) -> Sequence[GrammarConstraint | None]:
    """A constraint for each answer, or None for free text."""
    if not is_constrained(request):
        return [None] * request.n
    compiled = services.pools.grammars.run
    grammar = await compiled(answer_grammar, request, tokenized)
    vocabulary = await services.vocabularies.of(model_id, model)
    return await compiled(constraints, vocabulary, grammar, tokenized, request.n)


def _with_seed(request: Request, i: int) -> Request:
    seed = request.sampling.seed
    if i == 0 or seed is None:
        return request
    return dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, seed=(seed + i) % 2**64))
