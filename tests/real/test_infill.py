"""A trained coder fills in between two texts."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import openai
import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from tests.real.conftest import RealFile
from tests.server import toy

pytestmark = pytest.mark.real
BEFORE = "def add(a, b):\n    return "
AFTER = "\n\nprint(add(1, 2))  # 3\n"


def test_a_coder_fills_in(real_file: RealFile) -> None:
    path = real_file("qwen-0.5b")
    settings = LoadSettings(context=512, numerics="fast", probe=False, threads=os.cpu_count())
    runtime = Runtime(lambda spec, progress: LLM.load(path, "off", settings=settings))
    asyncio.run(runtime.load(LoadSpec("coder", id="coder", ttl_s=None)))
    services = Services(runtime, default_model="coder")
    with toy.serving(services) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:

        def write(prompt: str, **more: Any) -> str:
            answer = client.completions.create(model="coder", prompt=prompt, temperature=0, max_tokens=24, **more)
            return answer.choices[0].text

        filled = write(BEFORE, suffix=AFTER)
        assert filled.startswith("a + b\n")
        assert write(f"<|fim_prefix|>{BEFORE}<|fim_suffix|>{AFTER}<|fim_middle|>") == filled  # an editor's own way
        assert write(BEFORE) != filled  # without a suffix it goes on
