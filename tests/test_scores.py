"""Log probabilities of a text on real files: the same with and without a draft, and in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.core.params import Request, SamplingParams
from foredraft.pair.llm import LLM
from foredraft.scheduling.logprobs import TokenLogprob

TEXT = "昨日は朝から雨が降っていたので、駅まで傘をさして歩きました。 The capital of France is Paris. " * 8
"""Of several pieces."""


@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_scores_depend_on_the_text_alone(chat_pair: tuple[Path, Path], numerics: str) -> None:
    """In fast numerics, which may round otherwise beside what another slot holds, there is one slot only."""
    main, draft = chat_pair
    slots = 2 if numerics == "exact" else 1
    found: list[list[TokenLogprob]] = []
    for guesses, isolation in (("off", "off"), (draft, "off"), (draft, "on")):
        settings = LoadSettings(context=1024, slots=slots, numerics=numerics, isolation=isolation, remember=False)
        with LLM.load(main, guesses, settings=settings) as llm:
            found += [llm.score(TEXT, top=1), llm.score(TEXT, top=1)]
            if numerics == "exact" and llm.numerics is not None and llm.numerics.beside_exact:
                other = llm.scheduler.submit(llm.request("<|user|>\nTell me a story.<|end|>\n", max_tokens=60))
                found.append(llm.score(TEXT, top=1))
                llm.finish(other)
            tokens = tuple(llm.engine.tokenizer.encode(TEXT))
            request = Request(tokens, SamplingParams(seed=5), max_tokens=8)
            plain = llm.generate(request)
            scored = llm.scheduler.submit(request, prompt_logprobs=0)
            llm.finish(scored)
            assert scored.tokens == plain.tokens or numerics == "fast"
    assert all(each == found[0] for each in found)
    assert len(found[0]) == len(tokens) - 1 > 128
