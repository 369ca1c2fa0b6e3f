"""Drafts that read hidden rows, from the outside: asked for by name, taken by themselves, refused in words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.random_kinds import KINDS as PLANS
from benchmarks.random_kinds import write_plan, write_random_kind
from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import IncompatibleDraftError, UnsupportedModelError
from foredraft.core.params import SpeculationParams
from foredraft.pair.llm import LLM
from foredraft.pair.verification import verify
from tests import known_heads
from tests.known_heads import CIRCLE

KINDS = (
    "glm4moe-mtp",
    "gemma4",
    "gemma4-assistant",
    "llama",
    "eagle3",
    "qwen35",
    "qwen35-mtp",
    "qwen35-mtp-only",
)
SETTINGS = {"probe": False, "remember": False, "threads": 1, "context": 256, "slots": 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("heads")
    made = {kind: write_random_kind(folder / f"{kind}.gguf", kind) for kind in KINDS}
    deep = known_heads.circle(folder / "deep.gguf", layers=12)
    hybrid = known_heads.circle(folder / "hybrid.gguf", kind="qwen35-mtp")
    return made | {"circle": known_heads.circle(folder / "circle.gguf"), "deep": deep, "hybrid": hybrid}


@pytest.fixture(params=["off", "on"])
def isolation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Inside this process, and in one of its own."""
    return request.param


@pytest.mark.parametrize("name", ["circle", "hybrid"])
def test_the_head_inside_is_right_every_time(files: dict[str, Path], isolation: str, name: str) -> None:
    settings = LoadSettings(**SETTINGS, isolation=isolation, controller="fixed", fixed_look_ahead=4)
    with LLM.load(files[name], "builtin", settings=settings, draft_required=True) as llm:
        assert llm.draft_info is not None
        assert llm.draft_info.path == "builtin"
        for temperature in (0.0, 0.8):
            done = llm.generate([1, *CIRCLE[:5]], max_tokens=24, temperature=temperature, seed=1, ignore_eos=True)
            assert done.tokens == (CIRCLE * 4)[5:29]
            assert (done.stats.accepted, done.stats.rejected) == (done.stats.drafted, 0)
            assert done.stats.accepted >= 18
        llm.set_draft("off")
        plain = llm.generate([1, *CIRCLE[:5]], max_tokens=24, temperature=0.0, ignore_eos=True)
        assert (plain.stats.drafted, plain.tokens) == (0, (CIRCLE * 4)[5:29])
        for _ in range(2):  # the second time from a head to a head: the new one reads before the old one stops
            llm.set_draft("builtin", required=True)
            again = llm.generate([1, *CIRCLE[:5]], max_tokens=9, temperature=0.0, ignore_eos=True)
            assert (again.stats.accepted > 4, again.stats.rejected) == (True, 0)


@pytest.mark.parametrize(
    ("main", "draft"),
    [
        ("glm4moe-mtp", "builtin"),
        ("gemma4", "gemma4-assistant"),
        ("qwen35-mtp", "builtin"),
        ("qwen35", "qwen35-mtp-only"),
        ("llama", "eagle3"),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_the_text_is_the_same(
    files: dict[str, Path], isolation: str, main: str, draft: str, temperature: float
) -> None:
    """Or parts at a near-tie, within what the probe found: random weights amplify what rounds."""
    settings = LoadSettings(**{**SETTINGS, "probe": True}, isolation=isolation, numerics="fast")
    with LLM.load(files[main], files.get(draft, draft), settings=settings, draft_required=True) as llm:
        for seed in range(3):
            asked = llm.request("the cat he in", temperature=temperature, seed=seed, max_tokens=40, ignore_eos=True)
            found = verify(llm, asked)
            assert found.sound, found.difference
            assert found.drafted.stats.by_source["model"].drafted > 20


def test_it_appears_by_itself(files: dict[str, Path]) -> None:
    """auto takes it where a gain is expected: the notes say so, and what it takes."""
    settings = LoadSettings(**SETTINGS, controller="fixed", fixed_look_ahead=2)
    with LLM.load(files["deep"], "auto", settings=settings) as llm:
        notes = "\n".join(map(str, llm.notes))
        assert "Draft builtin: Reads this model's hidden rows" in notes
        assert re.search(r"\d [kM]B more memory, ready in", notes)
        assert llm.draft_info is not None
        assert llm.draft_info.path == "builtin"


@pytest.mark.parametrize(("kind", "loads"), [("glm4moe-mtp", True), ("qwen35-mtp", False)])
def test_a_header_that_speaks_of_a_head_without_weights_is_named(tmp_path: Path, kind: str, loads: bool) -> None:
    """llama.cpp loads such files of some architectures, and refuses them of others."""
    plan = PLANS[kind]()
    head = f"blk.{plan.layers - 1}."
    plan = dataclasses.replace(plan, tensors=[one for one in plan.tensors if not one[0].startswith(head)])
    path = write_plan(tmp_path / "m.gguf", plan, {n: np.full(size, 0.1, np.float32) for n, size in plan.tensors})
    if not loads:
        with pytest.raises(UnsupportedModelError, match="whose weights are not in the file"):
            LLM.load(path, "off", settings=LoadSettings(**SETTINGS))
        return
    with LLM.load(path, "builtin", settings=LoadSettings(**SETTINGS)) as llm:
        assert "their weights are not in the file" in str(llm.speculation.reason)
        assert llm.generate("the cat", max_tokens=4, ignore_eos=True).stats.tokens == 4


@pytest.mark.parametrize(
    ("main", "draft", "words"),
    [
        ("llama", "builtin", "has no built-in draft"),
        ("glm4moe-mtp", "eagle3", "gives its layers' inputs"),
        ("llama", "gemma4-assistant", "architecture gemma4, here llama"),
        ("gemma4", "qwen35-mtp-only", "architecture qwen35, here gemma4"),
    ],
)
def test_a_head_of_another_model_is_refused_and_the_answer_goes_on(
    files: dict[str, Path], main: str, draft: str, words: str
) -> None:
    settings = LoadSettings(**SETTINGS)
    wish = files.get(draft, draft)
    with pytest.raises(IncompatibleDraftError, match=words):
        LLM.load(files[main], wish, settings=settings, draft_required=True)
    with LLM.load(files[main], wish, settings=settings) as llm:
        assert llm.speculation.status == "unavailable"
        assert words in str(llm.speculation.reason)
        assert llm.generate("the cat", max_tokens=4, ignore_eos=True, speculation=SpeculationParams()).stats.tokens == 4
