"""Lists of prompts and conversations as one batch: in order, together, and each answer what it is alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from foredraft import LLM, BatchError, LoadSettings
from foredraft.core.errors import (
    ClosedError,
    ContextOverflowError,
    EmptyPromptError,
    NonFiniteLogitsError,
    ParameterError,
)
from foredraft.pair.stream import AnswerStream
from foredraft.scheduling.scheduler import Scheduler
from tests.test_llm import toy

PROMPTS = ["ab", "abc", "dcba", "a", "bcd", "cab", "abab", "bb"]
CHATML = "{% for m in messages %}{{ m.content }}{% endfor %}b"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(answers being written, answers waiting) at each pass."""
    seen: list[tuple[int, int]] = []
    step = Scheduler.step

    def counted(self: Scheduler) -> object:
        moved = step(self)
        seen.append((len(self.running), len(self.waiting)))
        return moved

    monkeypatch.setattr(Scheduler, "step", counted)
    return seen


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("draft", [None, 0.3])
def test_a_batch_is_written_together_and_each_text_is_what_it_is_alone(
    temperature: float, draft: float | None, at_once: list[tuple[int, int]]
) -> None:
    ask = {"temperature": temperature, "seed": 7, "max_tokens": 30, "ignore_eos": True}
    with toy(draft=draft, n_slots=3, n_ctx=1024) as llm:
        alone = [llm.generate(prompt, **ask) for prompt in PROMPTS]
        assert max(running for running, _ in at_once) == 1
        at_once.clear()
        batch = llm.generate(PROMPTS, **ask)
        assert max(running for running, _ in at_once) == 3
        assert max(waiting for _, waiting in at_once) <= 6, "who asks from another thread does not wait for all of it"
        assert not llm.scheduler.busy
        of_tokens = llm.generate([llm.tokenize(prompt) for prompt in PROMPTS], **ask)
        of_requests = llm.generate([llm.request(prompt, **ask) for prompt in PROMPTS])
    assert [one.tokens for one in batch] == [one.tokens for one in alone]
    assert [one.text for one in of_tokens] == [one.text for one in of_requests] == [one.text for one in alone]
    assert all("".join(piece.text for piece in one.pieces) == one.text for one in batch)


def test_conversations_are_answered_as_one_batch() -> None:
    ask = {"temperature": 0.0, "max_tokens": 12, "ignore_eos": True}
    with toy(n_slots=3, n_ctx=1024, chat_template=CHATML) as llm:
        alone = [llm.chat(prompt, **ask).text for prompt in PROMPTS]
        conversations = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
        assert [one.text for one in llm.chat(PROMPTS, **ask)] == alone
        assert [one.text for one in llm.chat(conversations, **ask)] == alone
        assert [one.text for one in llm.chat(PROMPTS[:1], **ask)] == alone[:1]


def test_n_gives_answers_of_consecutive_seeds() -> None:
    ask = {"max_tokens": 20, "ignore_eos": True}
    with toy(n_slots=4, n_ctx=1024, chat_template=CHATML) as llm:
        alone = [llm.generate("ab", seed=5 + i, **ask).text for i in range(3)]
        assert [one.text for one in llm.generate("ab", n=3, seed=5, **ask)] == alone
        assert [one.seed for one in llm.generate("ab", n=3, seed=2**64 - 1, **ask)] == [2**64 - 1, 0, 1]
        several = llm.generate(["ab", "abc"], n=3, seed=5, **ask)
        assert [one.text for one in several[0]] == alone
        assert [len(some) for some in several] == [3, 3]
        assert len({one.seed for one in llm.generate("ab", n=3, **ask)}) == 3
        said = llm.chat("ab", n=2, seed=5, **ask)
        assert [one.text for one in said] == [llm.chat("ab", seed=seed, **ask).text for seed in (5, 6)]
        assert [len(some) for some in llm.chat(["ab", "abc"], n=2, **ask)] == [2, 2]
        assert len(llm.generate("ab", n=1, **ask)) == 1
        for wrong in (0, -1, True, 1.5, 10**6):
            with pytest.raises(ParameterError, match="n is"):
                llm.generate("ab", n=wrong)  # type: ignore[call-overload]


def test_what_fails_ends_no_other_and_is_told_at_the_end() -> None:
    ask = {"seed": 7, "max_tokens": 10, "ignore_eos": True}
    with toy(draft=None, n_slots=2, n_ctx=128) as llm:
        good = [llm.generate(prompt, **ask).text for prompt in ("ab", "abc")]
        with pytest.raises(BatchError, match=r"2 of 4 answers failed\. Number 1: The prompt is empty") as raised:
            llm.generate(["ab", "", "a" * 400, "abc"], **ask)
        error = raised.value
        assert [str(error.results[i]) for i in (0, 3)] == good
        assert [type(error.errors[i]) for i in (1, 2)] == [EmptyPromptError, ContextOverflowError]
        assert error.results[1] is error.errors[1]
        assert not llm.scheduler.busy
        llm.engine.fail("nan", after=4)  # type: ignore[attr-defined]
        with pytest.raises(BatchError) as raised:
            llm.generate(["ab", "abc", "ab", "abc"], **ask)
        errors, results = raised.value.errors, raised.value.results
        assert {type(one) for one in errors.values()} == {NonFiniteLogitsError}
        assert 1 <= len(errors) < 4
        assert all(str(results[i]) == good[i % 2] for i in range(4) if i not in errors)


def test_what_is_wrong_for_all_is_said_at_once(at_once: list[tuple[int, int]]) -> None:
    with toy(n_slots=2) as llm:
        for wrong in ({"temperature": -1.0}, {"temprature": 1.0}, {"stop": [""]}, {"top_k": -1}):
            with pytest.raises(ParameterError):
                llm.generate(PROMPTS, **wrong)  # type: ignore[call-overload]
        with pytest.raises(ParameterError, match="beforehand"):
            llm.generate(llm.request("ab"), temperature=0.5)
        assert at_once == []
    with pytest.raises(ClosedError):
        llm.generate(PROMPTS)


def test_how_far_it_is_can_be_followed_and_an_interruption_leaves_nothing_behind() -> None:
    shares: list[float] = []

    def interrupt(what: str, share: float) -> None:
        assert what == "answers"
        shares.append(share)
        if share == 0.5:
            raise KeyboardInterrupt

    with toy(n_slots=2, n_ctx=512) as llm:
        ask = {"seed": 7, "max_tokens": 5, "ignore_eos": True}
        whole: list[float] = []
        llm.generate(PROMPTS, progress=lambda _, share: whole.append(share), **ask)
        assert whole == [i / 8 for i in range(1, 9)]
        with pytest.raises(KeyboardInterrupt):
            llm.generate(PROMPTS, progress=interrupt, **ask)
        assert shares == [i / 8 for i in range(1, 5)]
        assert not llm.scheduler.busy
        assert llm.generate("ab", **ask).tokens


def test_who_asks_while_a_batch_is_written_is_answered_before_its_end() -> None:
    """The batch hands its prompts over as they find room: its hundredth is not before everybody else."""
    between: list[AnswerStream] = []
    done: list[bool] = []
    ask = {"seed": 7, "max_tokens": 3, "ignore_eos": True}
    with toy(n_slots=1, n_ctx=256) as llm:

        def ask_between(_: str, share: float) -> None:
            if not between:
                between.append(llm.stream("abc", **ask))
            done.append(between[0].done)

        llm.generate(["ab"] * 40, progress=ask_between, **ask)
        assert done.index(True) < 10
        assert between[0].result.tokens == llm.generate("abc", **ask).tokens


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_in_exact_numerics_the_texts_of_real_weights_are_what_they_are_alone(temperature: float) -> None:
    questions = [
        "What is 2 + 3?",
        "What is the capital of France?",
        "二次方程式の公式は何ですか?",
        "Write a haiku about rain.",
        "What is the quadratic equation formula?",
        "Say hello.",
    ]
    settings = LoadSettings(controller="fixed", fixed_look_ahead=4, numerics="exact", slots=4, context=2048)
    with LLM.load(settings=settings) as llm:
        ask: Callable[[object], object] = lambda what: llm.chat(  # noqa: E731
            what,  # type: ignore[call-overload]
            temperature=temperature,
            seed=3,
            max_tokens=60,
        )
        alone = [ask(question).result.tokens for question in questions]  # type: ignore[attr-defined]
        batch = ask(questions)
        assert [one.tokens for one in batch] == alone  # type: ignore[attr-defined]
        assert sum(one.stats.accepted for one in batch) > 0  # type: ignore[attr-defined]
