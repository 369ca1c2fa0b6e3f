"""In exact numerics every text is plain decoding's on trained files, too; in fast numerics they part at near-ties only.

`python -m tests.real.same_text` is the same with a hundred prompts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from foredraft.engines.llamacpp import exactness
from foredraft.pair.llm import LLM
from tests.real import same_text
from tests.real.conftest import RealFile

pytestmark = [pytest.mark.real, pytest.mark.timeout(1800)]
PROMPTS, TOKENS = 4, 8


def tally(llm: LLM) -> same_text.Tally:
    with llm:
        *_, whole = same_text.compare(llm, same_text.prompts(PROMPTS, None), tokens=TOKENS)
    assert whole.accepted > 0.3 * whole.drafted > 0, "nothing was guessed that a pass could get wrong"
    assert whole.answers > whole.accepted / TOKENS
    return whole


@pytest.mark.parametrize("name", ["smollm2", "qwen-0.5b", "gemma3"])
def test_exact_numerics_write_one_text(real_file: RealFile, name: str) -> None:
    llm = same_text.load(real_file(name), "auto", "exact", threads=1)
    assert llm.numerics is not None
    assert llm.numerics.mode == "exact"
    found = tally(llm)
    assert found.same == found.answers, found


def test_exact_numerics_write_one_text_in_a_process_of_their_own(real_file: RealFile) -> None:
    llm = same_text.load(real_file("smollm2"), "auto", "exact", threads=1, isolation="on")
    assert llm.places[0].pid is not None
    found = tally(llm)
    assert found.same == found.answers, found


def test_exact_numerics_where_large_passes_round(real_file: RealFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the weights as they lie in the file, llama.cpp has another kernel from eight rows on (measured on x86)."""
    monkeypatch.setattr(exactness, "attentions", same_text.as_in_the_file(exactness.attentions))
    llm = same_text.load(real_file("qwen-0.5b"), "auto", "exact", threads=1)
    if llm.engine.exact_rows is None:
        llm.close()
        pytest.skip("every size of pass is exact on this processor")
    found = tally(llm)
    assert found.same == found.answers, found


def test_fast_numerics_part_at_near_ties_only(real_file: RealFile) -> None:
    found = tally(same_text.load(real_file("smollm2"), "auto", "fast"))
    assert not found.defects, found


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [("smollm2", "q4_1"), ("qwen-0.5b", "q4_k_m"), ("gemma3", "q4_k_m"), ("qwen-1.5b", "q4_k_m")],
)
def test_files_are_called_what_they_say(real_file: RealFile, name: str, quantisation: str) -> None:
    from foredraft.models.facts import read_facts

    path: Path = real_file(name)
    assert read_facts(path).quantisation.lower() == quantisation
