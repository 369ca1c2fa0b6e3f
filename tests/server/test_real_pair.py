"""A real pair: every text is that of its single plain run, whatever runs beside it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.llm import LLM, LoadSettings
from foredraft.sampling.constraints import GrammarConstraint, GrammarVocabulary, json_grammar
from foredraft.scheduling.hosted import LoadSpec
from foredraft.scheduling.runtime import Runtime

PROMPTS = ("What is 2 + 3?", "Count from 1 to 12.", "Say the days of the week.", "今日は何曜日？", "Tell me a story.")


def test_texts_of_a_real_pair(chat_pair: tuple[Path, Path]) -> None:
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")
    model = LLM.load(main, draft, settings=LoadSettings(slots=3, context=1024, remember=False))
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
