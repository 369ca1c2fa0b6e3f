"""A toy pair that can read any prompt, for the tests of the bench."""

from __future__ import annotations

from foredraft.bench.categories import Prompt
from foredraft.engines.toy import ToyEngine
from foredraft.pair.llm import LLM
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import Arbiter, Drafter, ModelDrafter, SuffixDrafter

PROMPTS = {
    "maths": [Prompt("maths", 0, "en", "ab"), Prompt("maths", 1, "ja", "あ")],
    "code": [Prompt("code", 0, "en", "the cat")],
}


def pair(*, draft: float | None = 0.2, suffix: bool = False, **settings: object) -> LLM:
    """`draft` is how wrong the draft is (None: no draft)."""
    settings = {"n_ctx": 512, **settings}
    main = ToyEngine.random(seed=1, n_vocab=320, sharpness=3.0, **settings)
    drafter: Drafter | None = None
    if draft is not None:
        drafter = ModelDrafter(main.blurred(draft, seed=2), main.info.n_vocab)
        if suffix:
            drafter = Arbiter([SuffixDrafter(), drafter])
    return LLM(main, drafter, Fixed(4))
