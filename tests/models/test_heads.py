"""Drafts that read hidden rows, as the shelf knows them from their headers: what they are for, and whether they fit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.random_kinds import KINDS, write_plan, write_random_kind
from foredraft.core.errors import ModelNotFoundError, UnsupportedModelError
from foredraft.models.cache import ShelfCache
from foredraft.models.facts import ModelFacts, facts_from_json, facts_to_json, inside, read_facts
from foredraft.models.head_fit import made_for, own_head
from foredraft.models.memory import LoadPlan, need
from foredraft.models.pairing import pair
from foredraft.models.places import OWN, Place
from foredraft.models.store import ModelStore
from foredraft.words import words as words_of
from tests.models.gguf_bytes import model, write

MADE = ("glm4moe-mtp", "gemma4", "gemma4-assistant", "llama", "eagle3", "qwen35", "qwen35-mtp", "qwen35-mtp-only")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = tmp_path_factory.mktemp("shelf")
    for kind in MADE:
        write_random_kind(folder / f"{kind}.gguf", kind)
    empty_headed(folder / "empty.gguf")
    return ModelStore([Place(folder, OWN)], ShelfCache(None))


def empty_headed(path: Path) -> Path:
    """Its header speaks of a head whose weights are not in the file."""
    plan = KINDS["glm4moe-mtp"]()
    plan = dataclasses.replace(plan, tensors=[one for one in plan.tensors if not one[0].startswith("blk.2.")])
    import numpy as np

    return write_plan(path, plan, {name: np.ones(size, dtype=np.float32) for name, size in plan.tensors})


def facts(store: ModelStore, name: str) -> ModelFacts:
    found = store.find(name).facts
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "kind", "said", "here", "width", "trunk"),
    [
        ("glm4moe-mtp", "text", 1, 1, 64, 2),
        ("qwen35-mtp", "text", 1, 1, 64, 4),
        ("qwen35-mtp-only", "helper", 1, 1, 64, 4),
        ("gemma4-assistant", "helper", 0, 0, 64, 0),
        ("eagle3", "helper", 0, 0, 64, 0),
        ("qwen35", "text", 0, 0, 0, 0),
        ("empty", "text", 1, 0, 64, 2),
    ],
)
def test_what_a_header_says(
    store: ModelStore, name: str, kind: str, said: int, here: int, width: int, trunk: int
) -> None:
    found = facts(store, name)
    heads = found.heads
    assert (found.kind, heads.said, heads.here, heads.width, heads.trunk) == (kind, said, here, width, trunk)
    assert facts_from_json(json.loads(json.dumps(facts_to_json(found)))) == found
    if name == "eagle3":
        assert heads.layers == (1, 2, 3)


@pytest.mark.parametrize(
    ("main", "draft", "code", "words"),
    [
        ("glm4moe-mtp", "builtin", "head_fits", "hidden rows"),
        ("gemma4", "gemma4-assistant", "head_fits", "hidden rows"),
        ("llama", "eagle3", "head_fits", "hidden rows"),
        ("glm4moe-mtp", "eagle3", "head_misfit", "gives its layers' inputs"),
        ("llama", "gemma4-assistant", "head_misfit", "architecture gemma4, here llama"),
        ("gemma4", "qwen35-mtp-only", "head_misfit", "architecture qwen35, here gemma4"),
        ("empty", "builtin", "head_unusable", "weights are not in the file"),
    ],
)
def test_verdicts(store: ModelStore, main: str, draft: str, code: str, words: str) -> None:
    one = store.find(main)
    verdict = store.pair(one, store.draft_named(one, draft))
    assert verdict.code == code
    assert verdict.usable == (code == "head_fits")
    assert words in str(verdict.why)
    assert words_of("ja")(verdict.why) != str(verdict.why)


Change = Callable[[ModelFacts], ModelFacts]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: dataclasses.replace(f, heads=dataclasses.replace(f.heads, width=128)), "hidden row 128, here 64"),
        (lambda f: dataclasses.replace(f, vocabulary=dataclasses.replace(f.vocabulary, n_tokens=9999)), "9,999 tokens"),
        (
            lambda f: dataclasses.replace(f, heads=dataclasses.replace(f.heads, layers=(2, 9))),
            "highest layer 9, here 6",
        ),
    ],
)
def test_a_head_of_another_width_vocabulary_or_depth_is_named(store: ModelStore, change: Change, words: str) -> None:
    verdict = pair(facts(store, "gemma4"), change(facts(store, "gemma4-assistant")))
    assert not verdict.usable
    assert words in str(verdict.why)


@pytest.mark.parametrize(
    ("layers", "words"),
    [((1, 2, 9), "highest layer 9, here 4"), ((-1, 2, 3), "layers that it reads"), ((), "layers that it reads")],
)
def test_layers_that_the_main_model_lacks_are_named(store: ModelStore, layers: tuple[int, ...], words: str) -> None:
    draft = facts(store, "eagle3")
    other = dataclasses.replace(draft, heads=dataclasses.replace(draft.heads, layers=layers))
    verdict = pair(facts(store, "llama"), other)
    assert (verdict.code, verdict.usable) == ("head_misfit", False)
    assert words in str(verdict.why)


def test_several_heads_that_take_turns_are_refused(store: ModelStore) -> None:
    main = facts(store, "glm4moe-mtp")
    assert "take turns" in str(
        own_head(dataclasses.replace(main, heads=dataclasses.replace(main.heads, said=3, here=3)))
    )
    assert "of this architecture (llama)" in str(own_head(dataclasses.replace(main, architecture="llama")))
    assert own_head(main) is None


def test_a_main_model_lists_its_own_draft_first(store: ModelStore) -> None:
    drafts = store.drafts(store.find("glm4moe-mtp"))
    assert (drafts[0][0].name, str(drafts[0][0].path)) == ("builtin", "builtin")
    assert [draft.name for draft, _ in store.drafts(store.find("llama")) if draft.name == "builtin"] == []
    with pytest.raises(ModelNotFoundError, match="builtin"):
        store.draft_named(store.find("llama"), "builtin")


def test_a_draft_names_the_models_it_is_for(store: ModelStore) -> None:
    assert [main.name for main in store.mains(store.find("gemma4-assistant"))] == [store.find("gemma4").name]
    assert store.find("llama").name in [main.name for main in store.mains(store.find("eagle3"))]
    assert str(made_for(facts(store, "qwen35-mtp-only"))) == "qwen35 models with hidden rows of 64 numbers and 4 layers"
    assert str(made_for(facts(store, "eagle3"))) == "models with hidden rows of 64 numbers and at least 3 layers"
    with pytest.raises(UnsupportedModelError, match="is a draft for gemma4 models"):
        store.require("gemma4-assistant")
    assert store.require("gemma4-assistant", ("text", "helper")).drafts_only


def test_what_it_needs_is_its_own_part(store: ModelStore) -> None:
    """No weights of its own for the one inside, no cache for the one that looks into the main model's memory."""
    main, plan = facts(store, "glm4moe-mtp"), LoadPlan()
    own = inside(main)
    assert own is not None
    whole, part = need(main, plan, 512), need(own, plan, 512)
    assert part.weights == 0
    assert 0 < 3 * part.kv == whole.kv
    assert need(facts(store, "gemma4-assistant"), plan, 512).kv == 0


def test_other_programs_spellings_are_recognised(tmp_path: Path) -> None:
    for architecture in ("gemma4_assistant", "dflash"):
        found = read_facts(write(tmp_path / f"{architecture}.gguf", model(architecture=architecture)))
        assert found.kind == "helper"
