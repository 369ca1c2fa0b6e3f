"""The library on trained files: batches, an event loop, JSON and tools, each what it is alone."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pydantic
import pytest

from foredraft import LLM, AsyncLLM
from tests.real.conftest import RealFile

pytestmark = pytest.mark.real
QUESTIONS = ["What is the capital of France?", "What is 3 + 4?", "Name a colour."]
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 24}
LOADED: dict[str, Any] = {"context": 2048, "slots": 3, "remember": False}
EXACT: dict[str, Any] = {**LOADED, "numerics": "exact", "controller": "fixed", "fixed_look_ahead": 3}


class City(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    country: str = pydantic.Field(max_length=20)
    capital: bool


def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """The weather of a city."""
    return f"7 degrees {unit} in {city}, rain"


@pytest.mark.timeout(1800)
def test_a_batch_is_what_its_answers_are_alone(real_file: RealFile) -> None:
    """In exact numerics, with the same model as its own draft: every guess could stand, and passes are shared."""
    with LLM.load(real_file("smollm2"), real_file("smollm2"), **EXACT) as llm:
        alone = [llm.chat(question, **GREEDY).result.tokens for question in QUESTIONS]
        batch = llm.chat(QUESTIONS, **GREEDY)
        assert [answer.tokens for answer in batch] == alone
        assert sum(answer.stats.accepted for answer in batch) > 0

    async def asked() -> list[list[int]]:
        async with AsyncLLM.load(real_file("smollm2"), real_file("smollm2"), **EXACT) as loop:
            return [one.tokens for one in await asyncio.gather(*(loop.chat(one, **GREEDY) for one in QUESTIONS))]

    assert asyncio.run(asked()) == alone


@pytest.mark.timeout(1800)
def test_a_coder_gives_values_and_calls_functions(real_file: RealFile) -> None:
    with LLM.load(real_file("qwen-0.5b"), None, numerics="fast", **LOADED) as llm:
        city = llm.chat("Describe Oslo as JSON.", schema=City, temperature=0, max_tokens=80).result.parsed
        assert isinstance(city, City)
        assert "Oslo" in city.name
        talk: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
        answer = llm.chat(talk, tools=[get_weather], tool_choice="required", temperature=0, max_tokens=80).result
        (call,) = answer.tool_calls[:1]
        assert (call.name, call.arguments["city"]) == ("get_weather", "Oslo")
        assert get_weather(**call.arguments)
        assert answer.text.strip() == ""
        assert llm.chat("What is 2 + 2?", prefill="2 + 2 =", **GREEDY).text.strip().startswith("4")
