"""How attention is computed on a processor: scores written out where scratch memory allows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.engines.llamacpp.attention import SCORES_BYTES, choose
from foredraft.engines.llamacpp.library import library


def chosen(
    asked: str = "auto", *, kv: str = "f16", ctx: int = 8192, heads: int = 32, gpu: bool = False
) -> tuple[str, int]:
    made = choose(asked, kv_type=kv, n_ctx=ctx, n_heads=heads, n_ubatch=512, on_gpu=gpu)
    assert made.scores <= SCORES_BYTES or asked == "off"
    return made.flash, made.n_ubatch


def test_a_processor_writes_the_scores_out_in_smaller_steps_for_longer_contexts() -> None:
    assert chosen(ctx=2048, heads=3) == ("off", 512)
    assert chosen(ctx=8192, heads=32) == ("off", 128)
    assert chosen(ctx=32_768, heads=32) == ("off", 32)
    assert chosen(ctx=131_072, heads=32) == ("auto", 512), "no room: the library's way"


def test_gpus_quantised_caches_and_the_users_word_stand() -> None:
    assert chosen(gpu=True) == ("auto", 512)
    assert chosen(kv="q8_0") == ("auto", 512)
    assert chosen("on") == ("on", 512)
    assert chosen("off", ctx=131_072) == ("off", 512)


@pytest.mark.parametrize(("asked", "flash"), [("auto", False), ("off", False), ("on", True)])
def test_the_library_is_told(tiny_llama: Path, asked: str, flash: bool) -> None:
    if library().api.llama_supports_gpu_offload() and asked == "auto":
        pytest.skip("the library decides on a GPU")
    with library().record() as lines:
        LlamaCppEngine(tiny_llama, LoadOptions(probe=False, flash_attention=asked)).close()
    said = next(line for line in lines if re.search(r"flash_attn\s*=", line))
    assert said.rstrip().endswith("enabled" if flash else "disabled")
