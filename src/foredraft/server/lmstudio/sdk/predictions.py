"""Answers: a conversation or a text, with every setting that the protocol has, over the way that all dialects take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from llguidance.gbnf_to_lark import GbnfToLarkError, gbnf_to_lark
from pydantic import ValidationError

from foredraft.core.errors import ModelError
from foredraft.core.params import MAX_DRAFT, SamplingParams, SpeculationParams
from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.warnings import note
from foredraft.runtime.events import Finished, NewPieces, PromptProgress
from foredraft.runtime.managed_model import ModelState
from foredraft.scheduling.request import Generation
from foredraft.server import limits, statistics
from foredraft.server.context import Services
from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.sdk import cards, loads, problems, shapes
from foredraft.server.lmstudio.sdk.cards import Specifier
from foredraft.server.lmstudio.sdk.config import Stack, Values
from foredraft.server.lmstudio.sdk.endpoints import Channel
from foredraft.server.lmstudio.sdk.fragments import Fragments
from foredraft.server.lmstudio.sdk.history import History, messages_of, plain_text
from foredraft.server.lmstudio.sdk.own_template import own_template
from foredraft.server.lmstudio.sdk.wire import Heard
from foredraft.server.pipeline import ANY_JSON, Submitted, submit
from foredraft.server.schemas import MAX_TOP_LOGPROBS, Sampling

PREFIX = "llm.prediction."
QUIET = frozenset({"llama.cpuThreads", "toolCallStopStrings", "toolNaming"})
"""Settings that change nothing about the answer here, and are not worth a word."""


class Predict(Heard):
    model_specifier: Specifier
    history: History = History()
    prediction_config_stack: Stack = Stack()
    fuzzy_preset_identifier: str | None = None


class CompleteRawText(Heard):
    model_specifier: Specifier
    raw_prompt: str
    prediction_config_stack: Stack = Stack()
    fuzzy_preset_identifier: str | None = None


async def predict(services: Services, asked: Predict, channel: Channel) -> None:
    """Answer a conversation; or continue its text, where the library asks for that so."""
    stack = asked.prediction_config_stack
    if stack.raw:
        await _answer(services, channel, asked, plain_text(asked.history))
        return
    await _answer(
        services, channel, asked, await services.pools.prompts.run(messages_of, asked.history, services.uploads)
    )


async def complete(services: Services, asked: CompleteRawText, channel: Channel) -> None:
    """Continue a text."""
    await _answer(services, channel, asked, asked.raw_prompt)


async def _answer(
    services: Services, channel: Channel, asked: Predict | CompleteRawText, text: str | list[dict[str, Any]]
) -> None:
    began = time.perf_counter()
    if asked.fuzzy_preset_identifier is not None:
        raise _no_preset(asked.fuzzy_preset_identifier)
    state = await cards.required(services, asked.model_specifier, "llm")
    values = {key: value for key, value in asked.prediction_config_stack.merged().items() if key.startswith(PREFIX)}
    question = await question_of(services, state.id, values, text)
    progress = _progress(0, 0, 0)
    asking: Submitted | None = None
    try:
        async with channel.pulsing(lambda: progress):
            asking = await submit(services, question)
            channel.on_stop(asking.cancel)
            choice = asking.choices[0]
            plain = isinstance(text, str) or Values(values, PREFIX).table("reasoning.parsing").get("enabled") is False
            keeps_calls = bool(question.tools) and question.tool_choice != "none"
            reader = None if plain and not keeps_calls else choice.parser
            fragments = Fragments(reader, logprobs=question.top_logprobs is not None)
            async for happened in choice.events():
                if isinstance(happened, PromptProgress):
                    progress = _progress(happened.read, happened.total, happened.cached)
                    await channel.say(progress)
                elif isinstance(happened, NewPieces):
                    if progress.progress < 1.0:  # the rest of it was in the cache, or was read with the first token
                        total = len(choice.running.request.prompt)
                        progress = _progress(total, total, choice.running.stats.cached_tokens)
                        await channel.say(progress)
                    for message in fragments.read(happened.pieces):
                        await channel.say(message)
                elif isinstance(happened, Finished):
                    for message in fragments.end():
                        await channel.say(message)
                    took = time.perf_counter() - began
                    state = services.runtime.state(asking.model_id) or state
                    stats = _stats(happened.generation, took, called=fragments.called)
                    await channel.say(await _success(services, state, stats, values, asking.warnings))
    finally:
        if asking is not None:
            asking.cancel()


def _progress(read: int, total: int, cached: int) -> shapes.PromptProgress:
    details = shapes.PromptDetails(
        cached_token_count=cached,
        total_prompt_token_count=total,
        processed_prompt_token_count=max(0, read - cached),
        unprocessed_prompt_token_count=total - read,
    )
    return shapes.PromptProgress(progress=read / total if total else 0.0, details=details)


async def _success(
    services: Services, state: ModelState, stats: shapes.Stats, values: Mapping[str, Any], warnings: Any
) -> shapes.Success:
    return shapes.Success(
        stats=stats,
        model_info=await cards.instance(services, state),
        load_model_config=shapes.Config.of(loads.config_of(services, state)),
        prediction_config=shapes.Config.of(dict(values)),
        warnings=list(warnings) or None,
    )


def _stats(answer: Generation, took: float, *, called: bool) -> shapes.Stats:
    of, said = answer.stats, statistics.stats(answer)
    reason = said["stop_reason"]
    return shapes.Stats(
        stop_reason="toolCalls" if called and reason in ("eosFound", "stopStringFound") else reason,
        stop_string=answer.stop_string or None,
        tokens_per_second=float(said["tokens_per_second"]),
        time_to_first_token_sec=float(said["time_to_first_token"]),
        total_time_sec=took,
        prompt_tokens_count=of.prompt_tokens,
        predicted_tokens_count=of.tokens,
        total_tokens_count=of.prompt_tokens + of.tokens,
        used_draft_model_key=said.get("draft_model"),
        total_draft_tokens_count=said.get("total_draft_tokens_count"),
        accepted_draft_tokens_count=said.get("accepted_draft_tokens_count"),
        rejected_draft_tokens_count=said.get("rejected_draft_tokens_count"),
        ignored_draft_tokens_count=said.get("ignored_draft_tokens_count"),
    )


def _no_preset(name: str) -> problems.SdkError:
    return problems.SdkError(
        f'There is no preset "{name[:200]}" here.',
        hint="Presets are the app's; give the settings themselves.",
        display={
            "code": "generic.presetNotFound",
            "specifiedFuzzyPresetIdentifier": name,
            "availablePresetsSample": [],
            "totalAvailablePresets": 0,
        },
    )


# ---- settings ----


async def question_of(
    services: Services, model_id: str, values: Mapping[str, Any], text: str | list[dict[str, Any]]
) -> GenerationRequest:
    """What is asked, from the merged settings. Raises what is wrong with one of them."""
    of, warnings = Values(values, PREFIX), list[str]()
    most = of.whole("maxPredictedTokens")
    schema, grammar = await _form(services, of)
    tools, choice = _tools(of)
    template, stops = ("", ()) if isinstance(text, str) else own_template(of)
    if schema is not None and tools and choice == "required":
        raise RequestError("A forced tool call has the form of the tool.", param=f"{PREFIX}structured")
    question = GenerationRequest(
        model=model_id,
        messages=None if isinstance(text, str) else text,
        prompt=text if isinstance(text, str) else None,
        sampling=_sampling(of),
        speculation=_speculation(of, warnings),
        draft=await _draft(services, of.text("speculativeDecoding.draftModel")),
        stop=_stops(of, stops),
        max_tokens=None if most is None or most < 0 else most,
        top_logprobs=_logprobs(of, warnings),
        schema=schema,
        grammar=grammar,
        tools=tools,
        tool_choice=choice,
        truncate=not isinstance(text, str) and of.text("contextOverflowPolicy") != "stopAtLimit",
        template=template,
        template_variables=_variables(of),
        warnings=warnings,
    )
    of.table("reasoning.parsing")
    if isinstance(text, str):
        of.get("promptTemplate")
    for key in of.unheard():
        if key not in QUIET:
            note(f"{PREFIX}{key} means nothing here and was left out.", warnings)
    return question


def _sampling(of: Values) -> SamplingParams:
    top_k, seed = of.whole("topKSampling"), of.whole("seed")
    given = {
        "temperature": of.number("temperature"),
        "top_k": None if top_k is None else max(0, top_k),
        "top_p": of.number("topPSampling"),
        "min_p": of.number("minPSampling"),
        "repeat_penalty": of.number("repeatPenalty"),
        "presence_penalty": of.number("llama.presencePenalty"),
        "frequency_penalty": of.number("llama.frequencyPenalty"),
        "seed": None if seed is None or seed < 0 else seed,
    }
    try:
        return Sampling.model_validate({name: value for name, value in given.items() if value is not None}).sampling()
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"]))
        raise RequestError(f"{param}: {first['msg']}.", param=param) from None


def _speculation(of: Values, warnings: list[str]) -> SpeculationParams:
    exact, most = of.whole("speculativeDecoding.numDraftTokensExact"), of.whole("speculativeDecoding.maxTokensToDraft")
    least = of.whole("speculativeDecoding.minDraftLengthToConsider")
    surest = of.number("speculativeDecoding.minContinueDraftingProbability")
    of.get("speculativeDecoding.numReuseTokens")  # whatever of a prompt is known already is never read again
    most = exact if exact is not None else most
    least = exact if exact is not None else least
    if max(most or 0, least or 0) > MAX_DRAFT:
        note(f"At most {MAX_DRAFT} tokens are drafted in a round.", warnings)
    return SpeculationParams(
        max_draft=None if most is None else max(0, min(most, MAX_DRAFT)),
        min_draft=0 if least is None else max(0, min(least, MAX_DRAFT)),
        p_min=0.0 if surest is None else float(surest),
    )


async def _draft(services: Services, name: str | None) -> str:
    """The draft's name for a question. Raises for one that is not there, as LM Studio does."""
    if name is None:
        return "auto"
    if not name:
        return "off"
    name = services.aliases.of(name)
    if services.shelf is not None and name not in ("auto", "off"):
        try:
            await asyncio.to_thread(services.shelf.draft, name)
        except ModelError as error:
            raise problems.SdkError(f'Cannot find model "{name[:200]}"', hint=error.hint) from None
    return name


def _stops(of: Values, more: Sequence[str]) -> tuple[str, ...]:
    stops = tuple(text for text in (*of.texts("stopStrings"), *more) if text)
    limits.STOPS.check(len(stops), f"{PREFIX}stopStrings")
    for text in stops:
        limits.STOP_LENGTH.check(len(text), f"{PREFIX}stopStrings")
    return stops


def _logprobs(of: Values, warnings: list[str]) -> int | None:
    most = of.whole("logProbs")
    if most is None or most < 0:
        return None
    if most > MAX_TOP_LOGPROBS:
        note(f"At most {MAX_TOP_LOGPROBS} candidates are given for a token.", warnings)
    return min(most, MAX_TOP_LOGPROBS)


async def _form(services: Services, of: Values) -> tuple[Any, str]:
    """(JSON schema or None, grammar or "")."""
    wanted = of.table("structured")
    kind = wanted.get("type", "none")
    if kind == "none":
        return None, ""
    if kind == "json":
        schema = wanted.get("jsonSchema")
        limits.check_schema(schema, f"{PREFIX}structured.jsonSchema")
        return (ANY_JSON if schema is None else schema), ""
    if kind == "gbnf" and isinstance(wanted.get("gbnfGrammar"), str):
        param = f"{PREFIX}structured.gbnfGrammar"
        limits.check_grammar(wanted["gbnfGrammar"], param)
        try:
            return None, await services.pools.grammars.run(gbnf_to_lark, wanted["gbnfGrammar"])
        except (GbnfToLarkError, RecursionError, ValueError) as error:
            raise RequestError(f"The grammar cannot be read: {str(error)[:300]}", param=param) from None
    raise RequestError(f"An answer of the form {str(kind)[:50]!r} is not served here.", param=f"{PREFIX}structured")


def _tools(of: Values) -> tuple[list[dict[str, Any]], str]:
    """(tools in OpenAI's form, the choice among them)."""
    wanted, param = of.table("tools"), f"{PREFIX}tools"
    tools = wanted.get("tools") or [] if wanted.get("type") == "toolArray" else []
    mode = str(of.table("toolChoice").get("mode", "auto"))
    limits.TOOLS.check(len(tools), param)
    limits.check_schema(tools, param)
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RequestError("A tool has no function with a name.", param=f"{param}.tools.{i}")
    if mode not in ("none", "auto", "required"):
        raise RequestError(f"{mode!r} is none of none, auto, required.", param=f"{PREFIX}toolChoice")
    return tools, mode if tools else "auto"


def _variables(of: Values) -> dict[str, Any] | None:
    variables: dict[str, Any] = {}
    thinking = of.get("reasoning.enableThinking")
    if isinstance(thinking, bool):
        variables["enable_thinking"] = thinking
    return variables or None
