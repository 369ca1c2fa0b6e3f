"""The library as a user calls it: on the toy engine where everything is exact, and on loading real files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.random_model import Shape
from foredraft.config.folders import cache_folder
from foredraft.config.load_settings import LoadSettings
from foredraft.config.shelf import open_shelf
from foredraft.core.errors import (
    ClosedError,
    ContextOverflowError,
    EmptyPromptError,
    ForedraftError,
    IncompatibleDraftError,
    MemoryLimitError,
    ModelFormatError,
    ModelNotFoundError,
    NonFiniteLogitsError,
    ParameterError,
)
from foredraft.core.params import SpeculationParams
from foredraft.engines.base import Engine
from foredraft.engines.rewind import NONE
from foredraft.engines.toy import RecurrentToy, ToyEngine
from foredraft.models.cache import Measured
from foredraft.models.memory import Machine
from foredraft.pair.llm import LLM
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.drafters import ModelDrafter
from tests import tiny_gguf

Pair = tuple[Path, Path]
OFF = SpeculationParams(enabled=False)
MODEL_ONLY = SpeculationParams(method="model")


def toy(*, draft: float | None = 0.3, seed: int = 1, n_vocab: int = 40, **settings: object) -> LLM:
    """A toy pair; `draft` is how wrong the draft is (None: no draft)."""
    main = ToyEngine.random(seed=seed, n_vocab=n_vocab, sharpness=2.0, **settings)
    drafter = None if draft is None else ModelDrafter(main.blurred(draft, seed=2), main.info.n_vocab)
    return LLM(main, drafter, Fixed(4))


@pytest.fixture
def llm() -> Iterator[LLM]:
    with toy() as made:
        yield made


def test_pieces_make_up_the_answer(llm: LLM) -> None:
    stream = llm.stream("ab", seed=3, max_tokens=80, ignore_eos=True)
    pieces = list(stream)
    result = stream.result
    assert "".join(piece.text for piece in pieces) == result.text
    assert [piece.token for piece in pieces if piece.token >= 0] == result.tokens
    assert result.pieces == pieces
    assert {piece.origin for piece in pieces} <= {"accepted", "corrected", "bonus", "main"}
    assert sum(piece.origin == "accepted" for piece in pieces) == result.stats.accepted
    assert all((piece.draft_position > 0) == (piece.origin == "accepted") for piece in pieces)
    assert all((piece.guess != "") == (piece.origin == "corrected") for piece in pieces)
    assert result.stats.drafted == result.stats.accepted + result.stats.rejected + result.stats.ignored
    assert result.stats.tokens == result.stats.accepted + result.stats.rounds - result.stats.cut == len(result.tokens)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_seed_gives_the_same_text_with_and_without_a_draft(llm: LLM, temperature: float) -> None:
    ask = {"temperature": temperature, "seed": 11, "max_tokens": 120, "ignore_eos": True}
    plain = llm.generate("abc", speculation=OFF, **ask)
    drafted = llm.generate("abc", **ask)
    assert drafted.stats.accepted > 0
    assert drafted.stats.rejected > 0
    assert plain.tokens == drafted.tokens
    assert plain.speculation.status == "off"
    assert drafted.speculation.status == "active"


def test_without_a_seed_one_is_drawn_and_told(llm: LLM) -> None:
    first = llm.generate("ab", max_tokens=40, ignore_eos=True)
    again = llm.generate("ab", max_tokens=40, ignore_eos=True, seed=first.seed)
    other = llm.generate("ab", max_tokens=40, ignore_eos=True)
    assert again.tokens == first.tokens
    assert other.seed != first.seed


def test_stop_strings_end_the_text_before_them_even_across_tokens(llm: LLM) -> None:
    whole = llm.generate("ab", seed=5, max_tokens=60, ignore_eos=True)
    middle = len(whole.text) // 2
    stop = whole.text[middle : middle + 3]
    cut = llm.generate("ab", seed=5, max_tokens=60, ignore_eos=True, stop=[stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.stop_reason == "stop"
    assert whole.tokens[: len(cut.tokens)] == cut.tokens


def test_leaving_the_loop_cancels_and_keeps_what_was_said(llm: LLM) -> None:
    whole = llm.generate("ab", seed=5, max_tokens=60, ignore_eos=True)
    stream = llm.stream("ab", seed=5, max_tokens=60, ignore_eos=True)
    for _ in stream:
        break
    result = stream.result
    assert result.stop_reason == "cancelled"
    assert result.text
    assert whole.text.startswith(result.text)
    assert whole.tokens[: len(result.tokens)] == result.tokens
    assert "".join(piece.text for piece in result.pieces) == result.text
    assert llm.generate("ab", seed=5, max_tokens=60, ignore_eos=True).tokens == whole.tokens


def test_a_second_turn_reads_only_what_is_new(llm: LLM) -> None:
    first = llm.generate("abc", seed=5, max_tokens=20, ignore_eos=True)
    prompt = [*llm.engine.tokenizer.encode("abc"), *first.tokens, 5, 6]
    second = llm.generate(prompt, seed=5, max_tokens=5)
    assert second.stats.cached_tokens >= len(prompt) - 4


def test_the_answer_ends_at_max_tokens_and_at_the_context() -> None:
    with toy(n_ctx=32) as llm:
        assert len(llm.generate("ab", max_tokens=7, ignore_eos=True).tokens) == 7
        full = llm.generate("ab", seed=1, ignore_eos=True)
        assert full.stop_reason == "context"
        assert full.stats.prompt_tokens + len(full.tokens) == 32
        assert llm.generate("ab", max_tokens=0).tokens == []


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        ({"prompt": ""}, EmptyPromptError),
        ({"prompt": []}, EmptyPromptError),
        ({"prompt": "ab" * 400}, ContextOverflowError),
        ({"prompt": [10**6]}, ParameterError),
        ({"prompt": [-1]}, ParameterError),
        ({"prompt": "ab", "temperature": -1.0}, ParameterError),
        ({"prompt": "ab", "top_p": 1.5}, ParameterError),
        ({"prompt": "ab", "min_p": float("nan")}, ParameterError),
        ({"prompt": "ab", "top_k": -1}, ParameterError),
        ({"prompt": "ab", "max_tokens": -1}, ParameterError),
        ({"prompt": "ab", "stop": [""]}, ParameterError),
        ({"prompt": "ab", "logit_bias": {10**6: 1.0}}, ParameterError),
        ({"prompt": "ab", "temprature": 1.0}, ParameterError),
    ],
)
def test_bad_input_is_refused_and_the_next_request_works(ask: dict[str, object], error: type[ForedraftError]) -> None:
    with toy(n_ctx=64) as llm:
        with pytest.raises(error) as raised:
            llm.generate(**ask)
        assert str(raised.value)
        assert llm.generate("ab", seed=1, max_tokens=3).tokens


def test_context_overflow_says_both_numbers() -> None:
    with toy(n_ctx=16) as llm, pytest.raises(ContextOverflowError, match=r"40 tokens.*holds 16"):
        llm.generate([5] * 40)


def test_nan_logits_end_the_answer_with_a_typed_error_and_nothing_else() -> None:
    with toy(draft=None) as llm:
        good = llm.generate("ab", seed=1, max_tokens=10, ignore_eos=True).tokens
        llm.engine.fail("nan", after=3)  # type: ignore[attr-defined]
        with pytest.raises(NonFiniteLogitsError):
            llm.generate("ab", seed=1, max_tokens=10, ignore_eos=True)
        assert llm.generate("ab", seed=1, max_tokens=10, ignore_eos=True).tokens == good


@pytest.mark.parametrize("failure", ["nan", "error"])
def test_a_draft_that_fails_is_left_off_aloud_and_the_answer_finished(failure: str) -> None:
    with toy(draft=None) as plain:
        expected = plain.generate("ab", seed=1, max_tokens=40, ignore_eos=True).tokens
    with toy() as llm:
        drafter = llm.scheduler.drafter
        assert isinstance(drafter, ModelDrafter)
        drafter.engine.fail(failure, after=5)  # type: ignore[attr-defined]
        result = llm.generate("ab", seed=1, max_tokens=40, ignore_eos=True)
        assert result.tokens == expected
        assert result.speculation.status == "unavailable"
        assert result.speculation.reason


def test_a_main_model_that_cannot_rewind_gets_no_draft_and_says_why() -> None:
    """Where no way back works, guessing is left off aloud, and refused where a draft is required."""
    with LLM(RecurrentToy.random(seed=1, rewind_limit=NONE)) as llm:
        llm.set_draft("auto")
        assert llm.speculation.status == "unavailable"
        assert "cannot take back" in str(llm.speculation.reason)
        with pytest.raises(IncompatibleDraftError, match="cannot take back"):
            llm.set_draft("draft.gguf", required=True)
        assert llm.generate("ab", seed=1, max_tokens=5, ignore_eos=True).stats.drafted == 0


@pytest.mark.parametrize("n_draft", [36, 44])
def test_vocabularies_of_other_sizes_share_what_both_have(n_draft: int) -> None:
    """A padded vocabulary, on either side: ids that one of the two lacks are neither guessed nor read."""
    with toy(draft=None) as plain:
        expected = plain.generate([0, 38, 39, 4], seed=1, max_tokens=60, ignore_eos=True).tokens
    main = ToyEngine.random(seed=1, n_vocab=40)
    draft = ToyEngine.random(seed=1, n_vocab=n_draft)
    with LLM(main, ModelDrafter(draft, main.info.n_vocab), Fixed(3)) as llm:
        result = llm.generate([0, 38, 39, 4], seed=1, max_tokens=60, ignore_eos=True)
        assert result.tokens == expected
        assert result.stats.drafted > 0
        assert llm.speculation.status == "active"


# ---- a draft that cannot pay ----


@pytest.fixture
def slow_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A main model and its draft on the shelf, on a machine where a draft step takes longer than a plain one."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(folder))
    shape = Shape(width=128, layers=4, heads=4, kv_heads=4, feed_forward=256, n_vocab=320)
    main = tiny_gguf.llama(folder / "big-f16.gguf", kind="f16", shape=shape)
    draft = tiny_gguf.llama(folder / "small-f16.gguf", kind="f16")

    def measured(target: Engine, draft: Engine | None = None, **_: object) -> CostModel:
        return CostModel({1: 0.01, 8: 0.03}, None if draft is None else 0.013)

    monkeypatch.setattr("foredraft.pair.speculation.measure", measured)
    monkeypatch.setattr("foredraft.pair.speculation.drift", lambda *_, **__: "")
    return main, draft


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are loaded from now on."""
    from foredraft.engines.llamacpp import LlamaCppEngine

    names: list[str] = []
    load = LlamaCppEngine.__init__

    def noted(self: LlamaCppEngine, path: Path, *more: object, **settings: object) -> None:
        names.append(path.name)
        load(self, path, *more, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(LlamaCppEngine, "__init__", noted)
    return names


def test_auto_gives_back_a_draft_that_cannot_pay_and_does_not_open_it_again(
    slow_draft: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, draft = slow_draft
    names = opened(monkeypatch)
    with LLM.load(main, "off") as plain:
        text = plain.generate("the cat", seed=1, max_tokens=12, ignore_eos=True).tokens
    names.clear()
    for wanted, said in ((["big-f16.gguf", "small-f16.gguf"], "unloaded again"), (["big-f16.gguf"], "not loaded")):
        with LLM.load(main) as llm:
            assert names == wanted
            assert llm.draft_info is None
            assert said in str(llm.speculation.reason)
            assert "% of a plain step" in str(llm.speculation.reason)
            assert "What would help here: drafting from the text" in str(llm.speculation.reason)
            assert any(said in str(note) and "--draft" in str(note) for note in llm.notes)
            assert llm.generate("the cat", seed=1, max_tokens=12, ignore_eos=True).tokens == text
        names.clear()
    with LLM.load(main, settings=LoadSettings(threads=1)) as llm:
        assert names == ["big-f16.gguf", "small-f16.gguf"], "with other threads nothing is known"
        llm.set_draft(draft)
        assert llm.draft_info is not None
        assert "unloaded again" not in str(llm.speculation.reason)


def test_auto_tries_a_smaller_draft_where_a_larger_one_cannot_pay(
    slow_draft: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, draft = slow_draft
    shape = Shape(width=32, layers=1, heads=4, kv_heads=4, feed_forward=64, n_vocab=320)
    tiny_gguf.llama(draft.with_name("smaller-f16.gguf"), kind="f16", shape=shape)
    shelf = open_shelf()
    for name, speedup in (("small", 1.5), ("smaller", 1.2)):  # so the larger one is tried first
        kept = Measured(speedup, speedup, speedup, 10.0, 10.0 * speedup, "2026-11-30")
        shelf.remember_measured(shelf.find(main), shelf.find(f"{name}@f16"), kept)
    names = opened(monkeypatch)
    for tried in (["small-f16.gguf"], ["smaller-f16.gguf"], []):
        with LLM.load(main) as llm:
            assert names == ["big-f16.gguf", *tried]
            assert llm.draft_info is None
        names.clear()
    monkeypatch.setattr("foredraft.pair.speculation.measure", lambda *_, **__: CostModel({1: 0.01, 8: 0.03}, 0.001))
    (cache_folder() / "tuning").rename(cache_folder() / "gone")
    with LLM.load(main) as llm:
        assert names == ["big-f16.gguf", "small-f16.gguf"]
        assert llm.draft_info is not None
        assert "cannot pay" not in str(llm.speculation.reason)


def test_a_draft_that_was_named_is_kept_though_it_cannot_pay(slow_draft: Pair) -> None:
    main, draft = slow_draft
    for settings, notes in ((LoadSettings(), 1), (LoadSettings(controller="fixed", fixed_look_ahead=2), 0)):
        with LLM.load(main, draft, settings=settings) as llm:
            assert llm.draft_info is not None
            assert (
                len([note for note in llm.notes if "cannot pay here" in str(note) and "You asked for it" in str(note)])
                == notes
            )
            if notes:
                (words,) = (note for note in llm.notes if "cannot pay here" in str(note))
                assert "What would help here: drafting from the text" in str(words)
                paused = llm.generate("the cat", seed=1, max_tokens=40, ignore_eos=True, speculation=MODEL_ONLY)
                assert paused.speculation.status == "paused"
                said = str(paused.speculation.reason)
                assert said.startswith("Drafting cannot pay here, not even if every token were accepted")
                assert "What would help here: drafting from the text" in said
    with LLM.load(main, "auto", settings=LoadSettings(controller="fixed", fixed_look_ahead=2)) as llm:
        assert llm.draft_info is not None, "a fixed look-ahead measures nothing"


def test_the_embedded_draft_is_never_given_back(chat_pair: Pair, slow_draft: Pair) -> None:
    with LLM.load() as llm:
        assert llm.draft_info is not None
    with LLM.load("foredraft-demo") as llm:
        assert llm.draft_info is not None


def test_a_load_that_cannot_fit_is_refused_beforehand_with_the_numbers(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foredraft.models.memory.this_machine", lambda: Machine(ram=60_000_000, ram_total=10**9))
    with pytest.raises(MemoryLimitError, match="free") as refused:
        LLM.load(tiny_llama, "off", settings=LoadSettings(context=200_000))
    assert refused.value.needed > refused.value.free > 0
    assert "context" in refused.value.hint
    with LLM.load(tiny_llama, "off", settings=LoadSettings(context=256)) as fits:
        assert fits.info.n_ctx == 256


def test_a_base_model_says_that_it_has_no_template(tiny_llama: Path) -> None:
    with LLM.load(tiny_llama, "off") as base:
        assert "no chat template" in str(base.template.note)
    with toy(chat_template="{% for m in messages %}{{ m.content }}{% endfor %}") as chatty:
        assert not chatty.template.note
        assert chatty.render([{"role": "user", "content": "ab"}]) == "ab"
        assert chatty.chat("ab", max_tokens=3, seed=1, ignore_eos=True).result.stop_reason == "length"


# ---- real files ----


def test_a_draft_with_another_vocabulary_is_refused_or_left_off_aloud(story_pair: Pair) -> None:
    main, _ = story_pair
    stranger = main.with_name("tinystories-656K.gguf")
    with pytest.raises(IncompatibleDraftError, match="2,304"):
        LLM.load(main, stranger, draft_required=True)
    with LLM.load(main, stranger) as llm:
        assert llm.speculation.status == "unavailable"
        assert "2,304" in str(llm.speculation.reason)
        assert any("without a draft" in str(note) for note in llm.notes)
        assert llm.generate("Once", max_tokens=4).tokens


def test_the_draft_can_be_changed_without_loading_the_main_model_again(story_pair: Pair) -> None:
    main, draft = story_pair
    with LLM.load(main, "off", settings=LoadSettings(controller="fixed")) as llm:
        engine = llm.engine
        plain = llm.generate("Once upon a time", temperature=0.0, max_tokens=30)
        llm.set_draft(draft)
        drafted = llm.generate("Once upon a time", temperature=0.0, max_tokens=30)
        llm.set_draft("off")
        assert llm.speculation.status == "off"
        assert llm.engine is engine
        assert drafted.stats.accepted > 0
        assert drafted.draft is not None
        assert drafted.tokens == plain.tokens


def test_a_draft_that_is_refused_costs_nobody_the_one_there_is(story_pair: Pair) -> None:
    main, draft = story_pair
    with LLM.load(main, draft, settings=LoadSettings(controller="fixed")) as llm:
        before = llm.draft_info
        with pytest.raises(IncompatibleDraftError):
            llm.set_draft(main.with_name("tinystories-656K.gguf"), required=True)
        assert llm.draft_info is before
        assert llm.generate("Once upon a time", temperature=0.0, max_tokens=20).stats.accepted > 0


def test_the_known_story(story_pair: Pair) -> None:
    main, draft = story_pair
    with LLM.load(main, draft, settings=LoadSettings(kv_type="f32")) as llm:
        result = llm.generate("Once upon a time", temperature=0.0, max_tokens=48)
    assert result.text.startswith(", there was a little girl named Lily. She loved to play outside in the park.")


def test_the_chat_pair_knows_the_quadratic_formula_in_both_languages(chat_pair: Pair) -> None:
    main, draft = chat_pair
    with LLM.load(main, draft, settings=LoadSettings(controller="fixed")) as llm:
        for question in ("What is the quadratic equation formula?", "二次方程式の公式は何ですか?"):
            stream = llm.chat(question, temperature=0.0, max_tokens=80)
            assert list(stream)
            result = stream.result
            assert "(-b ± √(b² - 4ac)) / (2a)" in result.text
            assert result.stop_reason == "eos"
            assert result.stats.accepted > 0


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("missing.gguf", None, ModelNotFoundError),
        ("text.gguf", b"hello, this is no model at all, only a text file", ModelFormatError),
        ("empty.gguf", b"", ModelFormatError),
    ],
)
def test_files_that_are_no_models(
    tmp_path: Path, name: str, content: bytes | None, error: type[ForedraftError]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error):
        LLM.load(path, "off")


def test_a_truncated_file_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    path = tmp_path / "half.gguf"
    path.write_bytes(tiny_llama.read_bytes()[:-20_000])
    with pytest.raises(ModelFormatError):
        LLM.load(path, "off")


# ---- closed pairs, unread answers, threads, names ----


def test_every_door_of_a_closed_pair_is_a_typed_error(tiny_llama: Path) -> None:
    llm = LLM.load(tiny_llama, "off", settings=LoadSettings(probe=False))
    begun = llm.stream("ab", max_tokens=50, ignore_eos=True)
    llm.close()
    llm.close()
    doors: list[Callable[[], object]] = [
        lambda: llm.generate("x", max_tokens=2),
        lambda: llm.stream("x"),
        lambda: llm.chat("x"),
        lambda: llm.render("x"),
        lambda: llm.request([1, 2]),
        lambda: llm.set_draft("off"),
        lambda: llm.engine.tokenizer.encode("x"),
    ]
    for door in doors:
        with pytest.raises(ClosedError, match="has been closed"):
            door()
    assert begun.result.stop_reason == "cancelled"
    assert llm.info.name


def test_an_answer_that_nobody_reads_is_finished_by_asking_for_it() -> None:
    with toy() as llm:
        whole = llm.generate("ab", max_tokens=9, seed=1, ignore_eos=True)
        assert len(whole.tokens) == 9
        assert llm.stream("ab", max_tokens=9, seed=1, ignore_eos=True).result.tokens == whole.tokens
        assert llm.stream("ab", max_tokens=9, seed=1, ignore_eos=True).text == whole.text
        assert str(llm.stream("ab", max_tokens=9, seed=1, ignore_eos=True)) == whole.text
        left = llm.stream("ab", max_tokens=90, seed=1, ignore_eos=True)
        for _ in left:
            assert whole.text.startswith(left.text[: len(whole.text)])  # so far, while it is being read
            break
        assert left.result.stop_reason == "cancelled"


def test_threads_take_turns_and_every_answer_is_what_it_is_alone() -> None:
    with toy() as llm:
        alone = {seed: llm.generate("abc", max_tokens=30, seed=seed, ignore_eos=True).text for seed in range(8)}
        with ThreadPoolExecutor(8) as pool:
            ask = lambda seed: llm.generate("abc", max_tokens=30, seed=seed, ignore_eos=True).text  # noqa: E731
            together = dict(zip(alone, pool.map(ask, alone), strict=True))
        assert together == alone


def test_a_misspelt_parameter_is_told_its_name() -> None:
    with toy() as llm:
        with pytest.raises(ParameterError, match="Did you mean temperature"):
            llm.generate("ab", temprature=1)
        with pytest.raises(ParameterError, match="Did you mean max_tokens"):
            llm.generate("ab", max_token=1)
        with pytest.raises(ParameterError, match="prompt"):
            llm.generate(b"ab")  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["kv_type", "guardrail", "flash_attention", "promise", "controller"])
def test_a_setting_of_few_words_names_them(name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name} is 'foo', but must be one of"):
        LoadSettings(**{name: "foo"})


@pytest.mark.skipif(sys.platform == "win32", reason="a thread that waits cannot be interrupted there")
def test_ctrl_c_during_a_load_is_not_lost(tiny_llama: Path) -> None:
    """It comes while llama.cpp writes a line of its log, whose callback would swallow it."""
    code = f"""
import logging, signal
from foredraft import LLM
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background has it switched off
class Sends(logging.Handler):
    def emit(self, record):
        logging.getLogger("foredraft.llamacpp").removeHandler(self)
        signal.raise_signal(signal.SIGINT)
logging.getLogger("foredraft.llamacpp").setLevel(logging.DEBUG)
logging.getLogger("foredraft.llamacpp").addHandler(Sends())
try:
    LLM.load({str(tiny_llama)!r}, "off")
except KeyboardInterrupt:
    print("interrupted")
else:
    print("lost")
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert said.stdout.strip() == "interrupted"
    assert not said.stderr
