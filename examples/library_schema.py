"""An answer that is a value of a Python type; and one that follows a grammar."""

from typing import Literal

from pydantic import BaseModel, Field

from foredraft import LLM


class Weather(BaseModel):
    place: str = Field(max_length=20)
    degrees: int = Field(ge=-60, le=60)
    sky: Literal["clear", "clouds", "rain"]


with LLM.load() as llm:
    answer = llm.chat("Describe the weather in Oslo as JSON.", schema=Weather, seed=1).result
    weather: Weather = answer.parsed
    print(weather.sky in ("clear", "clouds", "rain"), -60 <= weather.degrees <= 60)

    number = llm.chat("What is 2 + 3?", schema=int, temperature=0, max_tokens=10).result.parsed
    print(type(number).__name__)

    yes_or_no = llm.generate("Is the sky blue?", grammar='start: "yes" | "no"', seed=1)
    print(yes_or_no.text in ("yes", "no"))
