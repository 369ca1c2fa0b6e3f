"""The sources that find their guesses: what they find, and that they never make anyone wait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core.errors import ForedraftError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import Match
from foredraft.speculative.controllers.fixed import FixedLookAhead
from foredraft.speculative.drafters import NgramDrafter, PredictionDrafter, SuffixDrafter, SuffixStore, finder
from foredraft.speculative.drafters.finder import Finder, likelihood
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.sequence import RunningSequence

GREEDY = SamplingParams(temperature=0)
EOS = 99


def answering(prompt: Sequence[int], prediction: Sequence[int] = (), slot: int = 0) -> RunningSequence:
    request = Request(tuple(prompt), GREEDY, prediction=tuple(prediction))
    return RunningSequence(request, slot, Sampler(GREEDY), Match(), {EOS}, 1 << 22)


def guess(source: Finder, sequence: RunningSequence, limit: int = 4) -> Proposal:
    return source.propose([sequence], [FixedLookAhead(limit)])[0]


def write(source: Finder, sequence: RunningSequence, text: Sequence[int], limit: int = 8) -> tuple[int, int]:
    """Let the answer become `text`; (rounds, guesses that stood)."""
    rounds = stood = at = 0
    while at < len(text):
        x = guess(source, sequence, min(limit, len(text) - at - 1))
        kept = next((i for i, token in enumerate(x.tokens) if text[at + i : at + i + 1] != [token]), len(x))
        sequence.extend(list(text[at : at + kept + 1]))
        at += kept + 1
        rounds, stood = rounds + 1, stood + kept
    return rounds, stood


@pytest.mark.parametrize("make", [NgramDrafter, SuffixDrafter])
def test_what_came_last_time_is_guessed_again(make: type[Finder]) -> None:
    source = make()
    x = guess(source, answering([5, 1, 2, 3, 4, 6, 1, 2]))
    assert (x.tokens, x.source, x.dists) == ([3, 4, 6, 1], source.name, None)
    assert x.confidence == [likelihood(2), likelihood(3), likelihood(4), likelihood(5)]
    assert guess(source, answering([1, 2, 3, 4])).tokens == []
    assert guess(source, answering([1])).tokens == []


@pytest.mark.parametrize("make", [NgramDrafter, SuffixDrafter])
def test_the_longer_match_wins_over_the_newer_one(make: type[Finder]) -> None:
    assert guess(make(), answering([7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2]), 1).tokens == [3]


@pytest.mark.parametrize("make", [NgramDrafter, SuffixDrafter])
def test_confidence_falls_where_continuations_differ_and_after_a_wrong_guess(make: type[Finder]) -> None:
    sure = guess(make(), answering([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3, 7, 1, 2])).confidence[0]
    split = guess(make(), answering([1, 2, 3, 9, 1, 2, 4, 8, 1, 2, 5, 7, 1, 2])).confidence[0]
    assert split < sure
    source, sequence = make(), answering([1, 2, 3, 9, 1, 2])
    before = guess(source, sequence).confidence[0]
    sequence.extend([6, 1, 2])  # not 3
    after = guess(source, sequence)
    assert after.confidence[0] < before


@pytest.mark.parametrize("make", [NgramDrafter, SuffixDrafter])
def test_nothing_is_guessed_past_the_end_of_a_generation(make: type[Finder]) -> None:
    prompt = [1, 2, 3, EOS, 4, 1, 2]
    assert guess(make(), answering(prompt)).tokens == [3, EOS]
    request = Request(tuple(prompt), GREEDY, ignore_eos=True)
    longer = RunningSequence(request, 0, Sampler(GREEDY), Match(), {EOS}, 100)
    assert guess(make(), longer).tokens == [3, EOS, 4, 1]


def test_a_repetition_goes_round() -> None:
    assert guess(SuffixDrafter(), answering([1, 2, 1, 2]), 7).tokens == [1, 2, 1, 2, 1, 2, 1]


def test_a_found_guess_may_be_long_but_not_longer_than_the_answer_may_grow() -> None:
    period = list(range(200))
    assert len(guess(SuffixDrafter(), answering(period * 2), 1000)) == finder.MAX_FOUND
    request = Request(tuple(period * 2), GREEDY, max_tokens=10)
    short = RunningSequence(request, 0, Sampler(GREEDY), Match(), {EOS}, 1 << 22)
    assert len(guess(SuffixDrafter(), short, 1000)) == 9


@pytest.mark.parametrize("make", [NgramDrafter, SuffixDrafter])
def test_a_long_prompt_is_taken_in_over_several_rounds(make: type[Finder]) -> None:
    source = make()
    sequence = answering([*range(100), *range(1000, 1000 + 2 * finder.READ_A_ROUND), *range(50)])
    sizes = []
    for _ in range(4):
        sizes.append(len(guess(source, sequence)))
        sequence.extend([sequence.tokens[-1] + 1])
    assert sizes[0] == sizes[1] == 0
    assert sizes[-1] == 4


# ---- prediction ----

LINE = [int(x) for x in "314159265358979323846264338327950288419716939937510"]
FILE = [token + 10 * (i % 9) for i, token in enumerate(LINE * 8)]


def test_a_prediction_that_comes_true_is_guessed_to_its_end() -> None:
    source = PredictionDrafter()
    assert write(source, answering([1], FILE), FILE, limit=8) == (-(-len(FILE) // 9), len(FILE) - -(-len(FILE) // 9))
    assert guess(source, answering([1])).tokens == []


@pytest.mark.parametrize("at", [0, 40, 200, 390])
@pytest.mark.parametrize(
    ("put", "skip"), [([77], 1), ([77, 78], 0), ([], 3), ([77] * 5, 9), ([71, 72, 73] * 40, 0), ([], 90)], ids=str
)
def test_after_a_difference_the_two_are_put_side_by_side_again(at: int, put: list[int], skip: int) -> None:
    """Tokens exchanged, put in, left out, a little or a lot: all but a few of what is common is guessed."""
    text = [*FILE[:at], *put, *FILE[at + skip :]]
    _, stood = write(PredictionDrafter(), answering([1], FILE), text)
    common = at + max(0, len(FILE) - at - skip)
    lost = 0 if common < 100 else 30 + (20 if len(put) > 60 or skip > 60 else 0)
    assert stood >= common * 7 / 8 - lost - 8


def test_a_prediction_in_other_words_never_raises_and_hardly_guesses() -> None:
    source = PredictionDrafter()
    text = [1000 + i % 37 for i in range(300)]
    assert write(source, answering([1], FILE), text)[1] == 0


def test_megabytes_of_prediction_are_read_a_little_at_a_time() -> None:
    source = PredictionDrafter()
    prediction = list(range(300_000))
    sequence = answering([1], prediction)
    assert guess(source, sequence).tokens == [0, 1, 2, 3]
    trace = source._known[0].trace
    assert trace._known < 20_000  # type: ignore[attr-defined]
    for token in (7, 7, 7, 7):
        sequence.extend([token])
        guess(source, sequence)
    sequence.extend(prediction[60_000:60_020])  # far ahead: found once it is read and searched for
    assert write(source, sequence, prediction[60_020:60_300])[1] > 200


@given(st.lists(st.integers(0, 4), max_size=80), st.lists(st.integers(0, 4), max_size=80), st.integers(1, 9))
@settings(deadline=None)
def test_any_answer_to_any_prediction(prediction: list[int], text: list[int], limit: int) -> None:
    rounds, stood = write(PredictionDrafter(), answering([3], prediction), text, limit)
    assert rounds + stood == len(text)


# ---- the store of past answers ----


def test_without_a_store_nothing_is_kept_of_an_answer() -> None:
    source, first = SuffixDrafter(), answering([1, 2])
    guess(source, first)
    first.extend([3, 4, 5, 6])
    source.forget(0)
    assert guess(source, answering([3, 4])).tokens == []


def test_a_past_answer_is_continued(tmp_path: Path) -> None:
    store = SuffixStore(tmp_path / "deep" / "answers", vocabulary="toy")
    source = SuffixDrafter(store=store)
    store.add([3, 4, 5, 6])
    assert guess(source, answering([8, 3, 4])).tokens == [5, 6]  # and not beyond that answer
    private = Request((8, 3, 4), GREEDY, SpeculationParams(remember=False))
    sequence = RunningSequence(private, 1, Sampler(GREEDY), Match(), {EOS}, 1 << 22)
    assert guess(source, sequence).tokens == [], "who leaves no answer behind does not guess from others' either"
    store.save()

    again = SuffixStore(tmp_path / "deep" / "answers", vocabulary="toy")
    assert (len(again), again.note) == (1, None)
    assert guess(SuffixDrafter(store=again), answering([8, 3, 4])).tokens == [5, 6]
    again.clear()
    assert not (tmp_path / "deep" / "answers").exists()
    assert len(again) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"foredraft answers 1 other\n1 2 3\n", "another vocabulary"),
        (b"foredraft answers 1 toy\n1 two 3\n", "cannot be read"),
        (b"foredraft answers 1 toy\n1 -2 3\n", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_a_store_that_is_foreign_or_damaged_is_left_aside_with_its_reason(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "answers"
    path.write_bytes(content)
    store = SuffixStore(path, vocabulary="toy")
    assert words in str(store.note)
    assert len(store) == 0
    store.add([1, 2, 3])
    store.save()
    assert SuffixStore(path, vocabulary="toy").note is None


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SuffixStore(tmp_path / "file" / "answers")
    with pytest.raises(ForedraftError, match="cannot be written"):
        store.save()


def test_the_store_forgets_its_oldest_answers() -> None:
    store = SuffixStore(limit=100)
    source = SuffixDrafter(store=store)
    for start in range(0, 300, 10):
        store.add(list(range(start, start + 10)))
    assert len(store.generations) == 2
    assert sum(map(len, store.generations)) <= 100
    assert guess(source, answering([291, 292])).tokens == [293, 294, 295, 296]
    assert guess(source, answering([1, 2], slot=1)).tokens == []


def test_the_file_of_the_store_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    store, sizes = SuffixStore(path, vocabulary="toy", limit=1000), []
    for number in range(60):
        store.add([100 + number] * 50)
        store.save()
        sizes.append(path.stat().st_size)
    assert max(sizes) <= 4 * 1000 + 100, "at most 1,000 tokens of three digits"
    assert sizes[-1] >= 4 * 450, "and not empty"
    again = SuffixStore(path, vocabulary="toy", limit=1000)
    assert 9 <= len(again) <= 20
