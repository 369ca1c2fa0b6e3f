"""A model's tokenizer: /v1/tokenize, and the endpoints at the root that vLLM and llama-server have, which evaluation
programs (lm-eval) use to count and cut as the model does."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from foredraft.core.cancellation import still_wanted
from foredraft.engines.base import ModelInfo, Tokenizer
from foredraft.pair.tokens import spelt
from foredraft.requests.generation_request import GenerationRequest
from foredraft.runtime.managed_model import LoadedModel
from foredraft.server.bodies import LimitedRoute
from foredraft.server.deps import ServicesOf
from foredraft.server.openai.convert import template_message
from foredraft.server.openai.schemas import DetokenizeRequest, TokenizeRequest, TokensRequest
from foredraft.server.pipeline import with_model

router = APIRouter(tags=["Tokens"], route_class=LimitedRoute)


@router.post("/v1/tokenize", tags=["OpenAI"])
async def tokenize(body: TokenizeRequest, services: ServicesOf) -> dict[str, Any]:
    """The tokens of a text."""

    encode = services.preparation.tokenizer.encode

    def tokens(model: LoadedModel) -> list[int]:
        return encode(model.engine, body.content, add_special=body.add_special)

    return {"tokens": await with_model(services, body.model, tokens)}


@router.post("/tokenize")
async def tokens_of(body: TokensRequest, services: ServicesOf) -> dict[str, Any]:
    """The tokens of a text, or of a conversation as the model reads it."""

    encode = services.preparation.tokenizer.encode

    def answer(model: LoadedModel) -> dict[str, Any]:
        if body.messages is not None:
            messages = [template_message(message, f"messages.{i}") for i, message in enumerate(body.messages)]
            question = GenerationRequest(messages=messages, template_variables=body.chat_template_kwargs)
            tokens = list(services.preparation.prepare(model.engine, question).request.prompt)
        elif body.prompt is not None:
            tokens = encode(model.engine, body.prompt, add_special=body.add_special_tokens)
        else:
            how = {"add_special": body.add_special, "parse_special": body.parse_special}
            tokens = encode(model.engine, body.content or "", **how)
        result = {"count": len(tokens), "max_model_len": model.info.n_ctx, "tokens": tokens, "token_strs": None}
        if body.return_token_strs:
            result["token_strs"] = [_name(model.engine.tokenizer, token) for token in tokens]
        return result

    return await with_model(services, body.model, answer)


@router.post("/detokenize")
async def text_of_tokens(body: DetokenizeRequest, services: ServicesOf) -> dict[str, Any]:
    """The text of some tokens, control tokens by their names."""
    text = await with_model(
        services, body.model, lambda model: spelt(model.engine.tokenizer, body.tokens, still_wanted)
    )
    return {"prompt": text, "content": text}


@router.get("/tokenizer_info")
async def tokenizer_info(services: ServicesOf, model: str = "") -> dict[str, Any]:
    """What Hugging Face's `tokenizer_config.json` would say, by the file. Without `model`: of the default model, or
    whichever is loaded."""
    return await with_model(services, model, lambda loaded: described(loaded.info, loaded.engine.tokenizer))


def described(info: ModelInfo, tokenizer: Tokenizer) -> dict[str, Any]:
    """The tokenizer's facts in the words of Hugging Face."""

    def by_key(key: str) -> str | None:
        value = info.metadata.get(f"tokenizer.ggml.{key}_token_id", "")
        token = int(value) if value.isdecimal() else tokenizer.n_vocab
        return _name(tokenizer, token) if token < tokenizer.n_vocab else None

    return {
        "tokenizer_class": tokenizer.kind,
        "model_max_length": info.n_ctx,
        "vocab_size": tokenizer.n_vocab,
        "bos_token": None if tokenizer.bos is None else _name(tokenizer, tokenizer.bos),
        "eos_token": None if tokenizer.eos is None else _name(tokenizer, tokenizer.eos),
        "pad_token": by_key("padding"),
        "unk_token": by_key("unknown"),
        "add_bos_token": tokenizer.add_bos,
        "add_eos_token": tokenizer.add_eos,
        "chat_template": info.chat_template,
    }


def _name(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.piece(token, special=True).decode("utf-8", "replace")
