"""Texts and tokens: counting, the chat template, vectors."""

from __future__ import annotations

import asyncio
from typing import Any

from foredraft.core.errors import ModelError
from foredraft.engines.base import Engine
from foredraft.requests.generation_request import GenerationRequest
from foredraft.server.context import Services
from foredraft.server.embedding_texts import tokens_to_embed
from foredraft.server.lmstudio.sdk import cards, problems, shapes
from foredraft.server.lmstudio.sdk.cards import Domain, Specifier
from foredraft.server.lmstudio.sdk.config import Stack
from foredraft.server.lmstudio.sdk.history import History, messages_of
from foredraft.server.lmstudio.sdk.predictions import PREFIX, question_of
from foredraft.server.lmstudio.sdk.wire import Heard


class Text(Heard):
    specifier: Specifier
    input_string: str


class TextToEmbed(Heard):
    model_specifier: Specifier
    input_string: str


class TemplateOptions(Heard):
    omit_bos_token: bool | None = None
    omit_eos_token: bool | None = None
    tool_definitions: list[dict[str, Any]] | None = None


class ApplyTemplate(Heard):
    specifier: Specifier
    history: History = History()
    prediction_config_stack: Stack = Stack()
    opts: TemplateOptions = TemplateOptions()


class PreloadDraft(Heard):
    specifier: Specifier
    draft_model_key: str


async def tokenize(services: Services, asked: Text, domain: Domain) -> shapes.Tokens:
    """The tokens of a text, however long it is."""
    return shapes.Tokens(tokens=await _tokens(services, asked, domain))


async def count(services: Services, asked: Text, domain: Domain) -> shapes.TokenCount:
    return shapes.TokenCount(token_count=len(await _tokens(services, asked, domain)))


async def _tokens(services: Services, asked: Text, domain: Domain) -> list[int]:
    state = await cards.required(services, asked.specifier, domain)
    run, tokenizer = services.pools.prompts.run, services.preparation.tokenizer
    if domain == "embedding":  # such models read a text as a whole
        with services.runtime.use_embedder(state.id) as embedder:
            return await run(embedder.engine.tokenizer.encode, asked.input_string, parse_special=False)
    with services.runtime.use(state.id) as model:
        return await run(tokenizer.encode_all, model.engine, asked.input_string, add_special=False)


async def apply_template(services: Services, asked: ApplyTemplate) -> shapes.Formatted:
    """The conversation as the model would read it."""
    state = await cards.required(services, asked.specifier, "llm")
    values = {key: value for key, value in asked.prediction_config_stack.merged().items() if key.startswith(PREFIX)}
    messages = await services.pools.prompts.run(messages_of, asked.history, services.uploads)
    if asked.opts.tool_definitions:
        values[f"{PREFIX}tools"] = {"type": "toolArray", "tools": asked.opts.tool_definitions}
    question = await question_of(services, state.id, values, messages)
    with services.runtime.use(state.id) as model:
        text = await services.pools.prompts.run(_formatted, services, model.engine, question, asked.opts)
    return shapes.Formatted(formatted=text)


def _formatted(services: Services, engine: Engine, request: GenerationRequest, opts: TemplateOptions) -> str:
    text = services.preparation.text(engine, request)
    template = services.preparation.template(engine)
    bos, eos = template.bos, template.eos
    if opts.omit_bos_token is False and template.adds_bos and not text.startswith(bos):
        text = bos + text
    if opts.omit_bos_token and bos:
        text = text.removeprefix(bos)
    return text.removesuffix(eos) if opts.omit_eos_token and eos else text


async def embed(services: Services, asked: TextToEmbed) -> shapes.Embedding:
    """The vector of a text, of length 1."""
    state = await cards.required(services, asked.model_specifier, "embedding")
    with services.runtime.use_embedder(state.id) as model:
        tokens = await services.pools.prompts.run(
            tokens_to_embed, services.preparation.tokenizer, model, [asked.input_string]
        )
        made = await services.runtime.embed(state.id, tokens)
    return shapes.Embedding(embedding=[float(number) for number in made.vectors[0]])


async def preload_draft(services: Services, asked: PreloadDraft) -> None:
    """Load a draft before it is asked for."""
    state = await cards.required(services, asked.specifier, "llm")
    draft = asked.draft_model_key
    if services.shelf is not None:
        try:
            draft = await asyncio.to_thread(services.shelf.draft, draft)
        except ModelError as error:
            names = list(await asyncio.to_thread(services.shelf.names))
            raise problems.no_such_path(draft, names, error.hint) from None
    await services.runtime.set_draft(state.id, draft)
