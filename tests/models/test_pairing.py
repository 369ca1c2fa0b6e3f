"""The verdict on a pair: llama.cpp's rule on real vocabularies, and every reason once."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from foredraft.core.errors import IncompatibleDraftError, ModelError
from foredraft.core.reasons import Reason
from foredraft.models.facts import ModelFacts, read_facts
from foredraft.models.pairing import (
    FORCEABLE,
    KINDS,
    NOT_USABLE,
    RECOMMENDED,
    WORKS,
    Pairing,
    check_vocabularies,
    guide_size,
    pair,
)
from foredraft.words import words as words_of
from tests.models.gguf_bytes import model, write

TOKENS = [f"t{i}" for i in range(200)]


@pytest.fixture
def facts(tmp_path: Path) -> Any:
    """Make the facts of a model file from the options of `gguf_bytes.model`, its parameters made larger afterwards."""
    count = iter(range(1000))

    def made(params: float = 8e9, **options: Any) -> ModelFacts:
        options = {"tokens": TOKENS, "params": 64, **options}
        found = read_facts(write(tmp_path / f"m{next(count)}.gguf", model(**options)))
        return replace(found, n_params=int(params), n_active=int(params))

    return made


# ---- llama.cpp's rule, by llama.cpp's own loader ----


@dataclass(frozen=True)
class Loaded:
    """What llama.cpp says of a vocabulary after loading it."""

    kind: int
    bos: int | None
    eos: int | None
    texts: list[bytes]


def load(path: Path) -> Loaded:
    from foredraft.engines.llamacpp.library import library
    from foredraft.engines.llamacpp.loading import open_model

    api = library().api
    handle = open_model(path, vocab_only=True)
    vocab = api.llama_model_get_vocab(handle)
    text_of = api.llama_vocab_get_text
    try:
        return Loaded(
            api.llama_vocab_type(vocab),
            api.llama_vocab_bos(vocab) if api.llama_vocab_get_add_bos(vocab) else None,
            api.llama_vocab_eos(vocab) if api.llama_vocab_get_add_eos(vocab) else None,
            [text_of(vocab, ctypes.c_int32(token)) for token in range(api.llama_vocab_n_tokens(vocab))],
        )
    finally:
        api.llama_model_free(handle)


def compatible(main: Loaded, draft: Loaded) -> bool:
    """The rule written anew, token by token, from `common/speculative.cpp`."""
    if main.kind != draft.kind or main.bos != draft.bos or main.eos != draft.eos:
        return False
    if abs(len(main.texts) - len(draft.texts)) > 128:
        return False
    common = min(len(main.texts), len(draft.texts))
    return main.texts[5:common] == draft.texts[5:common]


@pytest.mark.slow
def test_all_pairs_of_real_vocabularies_are_judged_as_llama_cpp_judges_them(shared_data: Path) -> None:
    paths = sorted((shared_data / "vocab").glob("*.gguf"))
    assert len(paths) == 19
    loaded = {path: load(path) for path in paths}
    known = {path: read_facts(path) for path in paths}
    agreed = 0
    for main in paths:
        for draft in paths:
            if main != draft:
                ours = check_vocabularies(known[main], known[draft])
                assert ours.compatible == compatible(loaded[main], loaded[draft]), (main.name, draft.name, ours)
                agreed += 1
    assert agreed == 19 * 18


def test_the_near_relatives_of_the_shared_vocabularies(shared_data: Path) -> None:
    known = {path.stem.removeprefix("ggml-vocab-"): read_facts(path) for path in (shared_data / "vocab").glob("*.gguf")}
    assert check_vocabularies(known["qwen2"], known["qwen35"]).reason.code == "vocab_same"
    padded = check_vocabularies(known["llama-spm"], known["phi-3"]).reason
    assert (padded.code, padded.numbers) == ("vocab_padded", {"n": 64})
    assert check_vocabularies(known["llama-bpe"], known["qwen2"]).reason.code == "vocab_size"
    token = check_vocabularies(known["starcoder"], known["refact"]).reason
    assert (token.code, token.numbers) == ("vocab_token", {"id": 5, "x": "<filename>", "y": "<repo_name>"})


# ---- every reason ----


def says(verdict: Pairing, code: str, english: str, *, usable: bool = False) -> None:
    assert (verdict.code, verdict.usable) == (code, usable)
    assert english in str(verdict.why)
    assert words_of("ja")(verdict.why)
    assert "{" not in str(verdict.why) + words_of("ja")(verdict.why)
    if not usable:
        assert verdict.level == NOT_USABLE
        with pytest.raises(IncompatibleDraftError) as raised:
            verdict.require()
        assert raised.value.reason_code == code


def test_vocab_same_is_recommended_within_the_guide(facts: Any) -> None:
    verdict = pair(facts(14e9), facts(1e9))
    says(verdict, "vocab_same", "Same tokenizer · 7% of the main model's size", usable=True)
    assert verdict.level == RECOMMENDED
    assert verdict.reason.numbers["shared_tokens"] == 200
    verdict.require()


def test_vocab_padded(facts: Any) -> None:
    draft = facts(1e9, tokens=[*TOKENS, *(f"pad{i}" for i in range(128))])
    verdict = pair(facts(14e9), draft)
    says(verdict, "vocab_padded", "sizes differ by 128", usable=True)
    assert verdict.level == RECOMMENDED
    assert verdict.reason.numbers["shared_tokens"] == 200


def test_vocab_size(facts: Any) -> None:
    draft = facts(1e9, tokens=[*TOKENS, *(f"pad{i}" for i in range(129))])
    says(pair(facts(14e9), draft), "vocab_size", "329 tokens, the main model has 200")


def test_vocab_token_shows_text_and_id(facts: Any) -> None:
    draft = facts(1e9, tokens=[*TOKENS[:7], "new\nline", *TOKENS[8:]])
    verdict = pair(facts(14e9), draft)
    says(verdict, "vocab_token", 'token 7 is "new\\nline" here and "t7" in the main model')
    assert verdict.reason.numbers["id"] == 7


def test_tokens_below_five_do_not_matter(facts: Any) -> None:
    draft = facts(1e9, tokens=["<a>", "<b>", "<c>", "<d>", "<e>", *TOKENS[5:]])
    says(pair(facts(14e9), draft), "vocab_same", "Same tokenizer", usable=True)
    five = facts(1e9, tokens=[*TOKENS[:5], "<x>", *TOKENS[6:]])
    assert pair(facts(14e9), five).reason.numbers["id"] == 5


def test_vocab_kind(facts: Any) -> None:
    says(pair(facts(14e9), facts(1e9, tokenizer="llama")), "vocab_kind", "(llama, main model gpt2)")


@pytest.mark.parametrize("name", ["bos", "eos"])
def test_special_tokens_matter_where_they_are_added(facts: Any, name: str) -> None:
    def with_token(token: int, added: bool) -> dict[str, Any]:
        return {"extra": {f"tokenizer.ggml.{name}_token_id": token, f"tokenizer.ggml.add_{name}_token": added}}

    main = facts(14e9, **with_token(7, True))
    says(pair(main, facts(1e9, **with_token(9, True))), "special_tokens", f'{name.upper()} 9 "t9" here, 7 "t7" in')
    says(pair(main, facts(1e9, **with_token(7, False))), "special_tokens", f'{name.upper()} none here, 7 "t7" in')
    says(pair(main, facts(1e9, **with_token(7, True))), "vocab_same", "Same", usable=True)
    unused = facts(14e9, **with_token(7, False)), facts(1e9, **with_token(9, False))
    says(pair(*unused), "vocab_same", "Same", usable=True)


def test_too_large(facts: Any) -> None:
    says(pair(facts(8e9), facts(5.1e9)), "too_large", "64% of the main model's size")
    assert pair(facts(8e9), facts(4e9)).usable


def test_experts_that_rest_do_not_count_for_size(facts: Any) -> None:
    main = replace(facts(30e9), n_active=3_000_000_000)
    says(pair(main, facts(2e9)), "too_large", "67%")


def test_memory(facts: Any) -> None:
    main, draft = facts(14e9), facts(1e9)
    says(pair(main, draft, memory=lambda *_: (12_300_000_000, 8_000_000_000)), "memory", "Needs 12.3 GB, 8.0 GB free")
    assert pair(main, draft, memory=lambda *_: (8, 8)).usable


def test_same_model_by_any_path(facts: Any, tmp_path: Path) -> None:
    main = facts(14e9)
    link = tmp_path / "link.gguf"
    link.symlink_to(main.path)
    says(pair(main, main), "same_model", "This is the main model")
    says(pair(main, replace(main, paths=(link,))), "same_model", "This is the main model")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"helper"}))
def test_not_text_in_the_words_of_the_kind(facts: Any, kind: str) -> None:
    says(pair(facts(14e9), replace(facts(1e9), kind=kind)), "not_text", str(Reason(f"kind_{kind}")))


def test_recurrent_states_are_no_reason_on_either_side(facts: Any) -> None:
    """How they go back is seen at the load (`engines/states.py`)."""
    assert pair(facts(14e9), facts(1e9, architecture="qwen35")).usable
    assert pair(replace(facts(14e9), rewind="recurrent"), facts(1e9)).usable


def test_part_missing(facts: Any) -> None:
    says(pair(facts(14e9), replace(facts(1e9), missing=(2, 3))), "part_missing", "File 2 of 3 is missing")


def test_unreadable_draft_is_a_verdict_and_unreadable_main_an_error(facts: Any, tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.gguf", b"GGUF")
    says(pair(facts(14e9), broken), "unreadable", "cannot be read: broken.gguf is not a sound GGUF file")
    with pytest.raises(ModelError):
        pair(broken, facts(1e9))


# ---- levels and force ----


def test_levels_follow_the_guide(facts: Any) -> None:
    assert pair(facts(7.6e9), facts(0.5e9)).level == RECOMMENDED
    above = pair(facts(7.6e9), facts(1.5e9))
    assert above.level == WORKS
    assert "larger than the guide's 1.2 B" in str(above.why)
    small = pair(facts(3.1e9), facts(0.5e9))
    assert small.level == WORKS
    assert "rarely gain" in str(small.why)


@pytest.mark.parametrize(
    ("main", "draft"), [(3e9, 0), (1e9, 0), (7e9, 1e9), (14e9, 3e9), (32e9, 7e9), (64e9, 14e9), (5e9, 0.5e9)]
)
def test_the_guide(main: float, draft: float) -> None:
    assert guide_size(int(main)) == pytest.approx(draft)


def test_force_overrules_what_costs_only_speed(facts: Any) -> None:
    main = facts(14e9)
    token = facts(1e9, tokens=[*TOKENS[:7], "x", *TOKENS[8:]])
    forced = pair(main, token, force=True)
    assert (forced.usable, forced.forced, forced.level, forced.code) == (True, True, WORKS, "vocab_token")
    assert "as requested" in str(forced.why)
    for draft in (facts(10e9), main, facts(1e9, tokenizer="llama")):
        assert pair(main, draft, force=True).usable


def test_force_never_lets_an_id_out_of_range(facts: Any) -> None:
    main = facts(14e9)
    wide = [*TOKENS, *(f"pad{i}" for i in range(129))]
    drafts = [
        facts(1e9, tokens=wide),
        facts(1e9, tokens=[*wide, *(f"<0x{byte:02X}>" for byte in range(256))], tokenizer="llama"),
        replace(facts(1e9), missing=(1, 2)),
        replace(facts(1e9), kind="embedding"),
    ]
    for draft in drafts:
        assert not pair(main, draft, force=True).usable
    assert "vocab_size" not in FORCEABLE
