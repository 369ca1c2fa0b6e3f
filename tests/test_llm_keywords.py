"""The keyword arguments that editors complete are the parameters there are."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from foredraft import LLM, AsyncLLM, Embedder, LoadSettings
from foredraft.core.errors import ParameterError
from foredraft.core.params import Request, SamplingParams
from foredraft.pair.keywords import ChatKeywords, RequestKeywords, SamplingKeywords
from foredraft.pair.load_keywords import LoadKeywords
from foredraft.requests.generation_request import GenerationRequest
from tests import tiny_gguf
from tests.test_llm import toy


def test_the_keywords_of_sampling_are_its_fields_with_their_types() -> None:
    assert get_type_hints(SamplingKeywords) == get_type_hints(SamplingParams)
    assert not SamplingKeywords.__required_keys__
    assert not ChatKeywords.__required_keys__


def test_every_keyword_reaches_the_request() -> None:
    """Each with another value than its default, so that one that is dropped is seen."""
    given = {
        "temperature": 0.5,
        "top_k": 7,
        "top_p": 0.7,
        "min_p": 0.2,
        "repeat_penalty": 1.5,
        "presence_penalty": 0.25,
        "frequency_penalty": 0.75,
        "penalty_last_n": 11,
        "logit_bias": {3: 1.0},
        "seed": 99,
    }
    assert (
        set(given) == set(SamplingKeywords.__annotations__) == {one.name for one in dataclasses.fields(SamplingParams)}
    )
    with toy() as llm:
        request = llm.request("ab", stop="c", max_tokens=4, prediction="dd", ignore_eos=True, **given)  # type: ignore[arg-type]
        assert {name: getattr(request.sampling, name) for name in given} == given
        assert all(getattr(SamplingParams(), name) != value for name, value in given.items())
        assert (request.stop, request.max_tokens, request.ignore_eos) == (("c",), 4, True)
        assert request.prediction == tuple(llm.tokenize("dd", add_special=False))
        whole = llm.request("ab", sampling=SamplingParams(temperature=0.1, top_k=3), top_k=9)
        assert whole.sampling == SamplingParams(temperature=0.1, top_k=9)
    fields = {one.name for one in dataclasses.fields(GenerationRequest)}
    taken = {"sampling", "speculation", *given, *(one.name for one in dataclasses.fields(Request))}
    assert set(RequestKeywords.__annotations__) <= taken
    more = {"logprobs", "progress", "prefill"}  # named otherwise there, or for the call alone
    assert set(ChatKeywords.__annotations__) - set(RequestKeywords.__annotations__) - more <= fields


@pytest.mark.parametrize(
    ("wrong", "meant"), [("temprature", "temperature"), ("max_token", "max_tokens"), ("topk", "top_k")]
)
def test_a_typo_is_an_error_with_the_nearest_name(wrong: str, meant: str) -> None:
    with toy() as llm:
        for door in (llm.request, llm.stream, llm.generate, llm.chat):
            with pytest.raises(ParameterError, match=f"Did you mean {meant}"):
                door("ab", **{wrong: 1})  # type: ignore[operator]
        for door in (llm.generate, llm.chat):
            with pytest.raises(ParameterError, match=f"Did you mean {meant}"):
                door(["ab"], **{wrong: 1})  # type: ignore[operator]


def test_the_settings_of_a_load_are_keywords_with_their_types() -> None:
    kept = get_type_hints(LoadSettings)
    del kept["controller"], kept["max_draft"]  # the one is taken by `load` itself, the other is an older name
    assert get_type_hints(LoadKeywords) == kept
    assert not LoadKeywords.__required_keys__


def test_single_settings_stand_instead_of_those_of_settings(tmp_path: Path) -> None:
    settings = LoadSettings(slots=2, probe=False, remember=False, context=512)
    with LLM.load(None, None, settings=settings, slots=3) as llm:
        assert (llm.info.n_slots, llm.info.n_ctx) == (3, 512)
    with LLM.load(None, None, settings=settings) as llm:
        assert llm.info.n_slots == 2

    async def loaded() -> int:
        async with AsyncLLM.load(None, None, settings=settings, slots=3) as model:
            return model.info.n_slots

    assert asyncio.run(loaded()) == 3
    path = tiny_gguf.bert(tmp_path / "embeds.gguf")
    with Embedder.load(path, context=64) as embedder:
        assert embedder.info.n_ctx == 64
    for door in (LLM.load, lambda **given: Embedder.load(path, **given), lambda **given: asyncio.run(_opened(**given))):
        with pytest.raises(ParameterError, match="Did you mean slots"):
            door(slot=3)


async def _opened(**given: Any) -> None:
    await AsyncLLM.load(None, **given)
