"""A real pair: every text is that of its single plain run, whatever runs beside it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.grammars.constraints import GrammarConstraint, GrammarVocabulary, json_grammar
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from tests.server import toy

PROMPTS = ("What is 2 + 3?", "Count from 1 to 12.", "Say the days of the week.", "今日は何曜日？", "Tell me a story.")


def test_texts_of_a_real_pair(chat_pair: tuple[Path, Path]) -> None:
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")
    model = LLM.load(main, draft, settings=LoadSettings(numerics="exact", slots=3, context=1024, remember=False))
    if model.numerics is None or not model.numerics.beside_exact:
        model.close()
        pytest.skip("batches are not computed like single tokens here: a near-tie may fall to the other side")
    tokenizer = model.engine.tokenizer
    prompts = [tuple(tokenizer.encode(model.render(text))) for text in PROMPTS]
    vocabulary = GrammarVocabulary([tokenizer.piece(i) for i in range(tokenizer.n_vocab)], tokenizer.eog, tokenizer)
    person = json_grammar(
        {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "maximum": 99}},
            "required": ["name", "age"],
            "additionalProperties": False,
        }
    )

    def request(i: int, *, draft: bool) -> Request:
        sampling = SamplingParams(temperature=0.0)
        return Request(prompts[i % len(prompts)], sampling, SpeculationParams(enabled=draft), max_tokens=24)

    async def proof() -> None:
        runtime = Runtime(lambda spec, progress: model)
        await runtime.load(LoadSpec("main", id="main"))
        said = set()
        for enabled in (True, False):
            ask = Request(prompts[0], SamplingParams(temperature=1.0, seed=5), SpeculationParams(enabled=enabled))
            constraint = GrammarConstraint(vocabulary, person)
            said.add((await runtime.submit("main", ask, constraint=constraint).result()).text)
        assert len(said) == 1
        assert set(json.loads(said.pop())) == {"name", "age"}
        alone = [await runtime.submit("main", request(i, draft=False)).result() for i in range(8)]
        cancelled = runtime.submit("main", request(4, draft=True))
        running = [runtime.submit("main", request(i, draft=True)) for i in range(8)]
        cancelled.cancel()
        for plain, one in zip(alone, running, strict=True):
            assert (await one.result()).tokens == plain.tokens
        await runtime.close()

    asyncio.run(proof())


def test_a_second_turn_over_http_reads_only_what_is_new(chat_pair: tuple[Path, Path]) -> None:
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")
    settings = LoadSettings(slots=2, context=2048, remember=False)
    runtime = Runtime(lambda spec, progress: LLM.load(main, draft, settings=settings))
    asyncio.run(runtime.load(LoadSpec("main", id="main", ttl_s=None)))
    with toy.serving(Services(runtime, default_model="main")) as address, httpx.Client(base_url=address) as http:

        def ask(messages: list[dict[str, str]]) -> dict[str, Any]:
            body = {"messages": messages, "temperature": 0, "max_tokens": 60}
            answer = http.post("/v1/chat/completions", json=body, timeout=120)
            answer.raise_for_status()
            made: dict[str, Any] = answer.json()
            return made

        talk: list[dict[str, str]] = []
        for text in (*PROMPTS, *PROMPTS)[:6]:  # a chat that has gone on for a while
            talk.append({"role": "user", "content": text})
            first = ask(talk)
            talk.append(first["choices"][0]["message"])
        talk.append({"role": "user", "content": "And now?"})
        second = ask(talk)
        before, now = first["usage"], second["usage"]
        # the last token of an answer is written, but has not been read
        known = before["prompt_tokens"] + before["completion_tokens"] - 1
        assert before["prompt_tokens"] > 100
        assert second["timings"]["cache_n"] == known
        assert second["timings"]["prompt_n"] == now["prompt_tokens"] - known < 30
