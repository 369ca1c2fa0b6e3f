"""Models that think before they answer, each with the marks of another family, and then say what we know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from foredraft.engines.toy import ToyEngine, ToyTokenizer
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.speculative.drafters import ModelDrafter
from tests.formats import own_templates

TURNS = "{% for m in messages %}{{ m.content }}{% endfor %}"
THOUGHT, SAID = "It is ab, so b.", "Then **b** it is."
HARMONY = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"]
FAMILIES: dict[str, tuple[str, list[str], str]] = {
    "tags": (TURNS + "{# #}", [], f"<think>\n{THOUGHT}\n</think>\n\n{SAID}"),
    "opened by the prompt": (TURNS + "{# </think> #}<think>\n", [], f"{THOUGHT}\n</think>\n\n{SAID}"),
    "closed alone": (TURNS + "{# </think> #}", [], f"{THOUGHT}\n</think>\n\n{SAID}"),
    "mistral": (TURNS + "{# [THINK][/THINK] #}", ["[THINK]", "[/THINK]"], f"[THINK]{THOUGHT}[/THINK]{SAID}"),
    "seed": (
        TURNS + "{# <seed:think></seed:think> #}",
        ["<seed:think>", "</seed:think>"],
        f"<seed:think>{THOUGHT}</seed:think>{SAID}",
    ),
    "harmony": (
        own_templates.MESSAGES,
        HARMONY,
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{SAID}",
    ),
}


def load(spec: LoadSpec, progress: Any) -> LLM:
    """A model that says its family's script after any prompt."""
    template, names, text = FAMILIES[spec.model]
    size = 3 + 256 + len(names)
    words = [b"", b"", b"ab", *(bytes([byte]) for byte in range(256)), *[b""] * len(names)]
    control = {0: "<s>", 1: "</s>"} | {259 + number: name for number, name in enumerate(names)}
    tokenizer = ToyTokenizer(words, control=control, bos=0, eos=1, add_bos=True)
    script = [*tokenizer.encode(text, add_special=False), 1]
    order = 16  # longer than anything the script says twice

    def sure(context: Sequence[int]) -> Any:
        law, tail = np.zeros(size), list(context[-order:])
        for at in range(len(script) - 1, 0, -1):
            known = script[max(0, at - order) : at]
            if len(known) <= len(tail) and tail[len(tail) - len(known) :] == known:
                law[script[at]] = 1.0
                return law
        law[script[0]] = 1.0
        return law

    engine = ToyEngine(sure, tokenizer, order=order, n_ctx=2000, chat_template=template)
    return LLM(engine, ModelDrafter(engine.blurred(0.3), size))
