"""Text comes in whole characters, and no part of a stop string is ever shown."""

from __future__ import annotations

import codecs

from hypothesis import example, given
from hypothesis import strategies as st

from foredraft.engines.toy import ToyTokenizer
from foredraft.scheduling.stream import TextStream

TOKENIZER = ToyTokenizer.of_size(330)
PIECES = ("a", "b", "ab", " ", "é", "あ", "the")
letters = st.sampled_from([TOKENIZER.encode(piece, add_special=False) for piece in PIECES])
texts = st.lists(st.one_of(letters, st.integers(2, 329).map(lambda token: [token])), max_size=30).map(
    lambda parts: [token for part in parts for token in part]
)
stops = st.lists(st.sampled_from(["a", "ab", "aba", "bb", "é", "あa", " the", "thea"]), max_size=3)


def expected(tokens: list[int], stop: list[str]) -> tuple[str, str]:
    """(the text, the stop string that ended it), computed slowly."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    for token in tokens:
        text += decoder.decode(TOKENIZER.piece(token))
        found = [(text.find(one), number) for number, one in enumerate(stop) if one in text]
        if found:
            at, number = min(found)
            return text[:at], stop[number]
    return text + decoder.decode(b"", final=True), ""


@example([3, 4, 3], ["ab"], 1)
@given(texts, stops, st.integers(1, 4))
def test_what_is_handed_out_is_the_text_before_the_stop(tokens: list[int], stop: list[str], every: int) -> None:
    stream = TextStream(TOKENIZER, stop)
    wanted, stopped = expected(tokens, stop)
    shown, ended = "", False
    for number, token in enumerate(tokens):
        ended = stream.feed(token)
        if number % every == 0 or ended:
            stream.label(0, "plain", "")
            shown += "".join(piece.text for piece in stream.take(final=ended))
            assert wanted.startswith(shown), "something was shown that had to be taken back"
        if ended:
            break
    if not ended:
        shown += "".join(piece.text for piece in stream.take(final=True))
    assert ended == bool(stopped)
    assert stream.found == stopped
    assert shown == wanted


def test_of_stops_that_end_together_the_one_that_began_first_was_found() -> None:
    stream = TextStream(TOKENIZER, ["b", "ab"])
    tokens = TOKENIZER.encode("aab", add_special=False)
    assert [stream.feed(token) for token in tokens] == [False] * (len(tokens) - 1) + [True]
    assert stream.found == "ab"
    assert "".join(piece.text for piece in stream.take(final=True)) == "a"


def test_every_token_says_where_it_came_from() -> None:
    stream = TextStream(TOKENIZER)
    for token in (3, 4, 5):
        stream.feed(token)
    stream.label(2, "corrected", "model")
    stream.feed(6)
    stream.label(0, "plain", "")
    pieces = stream.take(final=True)
    said = [(piece.origin, piece.draft_position, piece.source) for piece in pieces]
    assert said == [("accepted", 1, "model"), ("accepted", 2, "model"), ("corrected", 0, ""), ("main", 0, "")]
    assert [piece.token for piece in pieces] == [3, 4, 5, 6]


def test_control_tokens_say_their_name_and_are_no_text() -> None:
    tokenizer = ToyTokenizer([b"a", b"b", b"", b""], control={2: "<|call|>", 3: "</s>"}, eos=3)
    stream = TextStream(tokenizer)
    for token in (0, 2, 1, 3):
        stream.feed(token)
    said = [(piece.text, piece.control) for piece in stream.take(final=True)]
    assert said == [("a", ""), ("", "<|call|>"), ("b", ""), ("", "</s>")]


def test_no_control_token_is_handed_out_from_within_or_behind_a_stop_string() -> None:
    tokenizer = ToyTokenizer([b"a", b"b", b""], control={2: "<|call|>"})
    stream = TextStream(tokenizer, ["bab"])
    for token in (0, 2, 1, 2, 0, 2, 1):
        stream.feed(token)
    said = [(piece.text, piece.control) for piece in stream.take(final=True)]
    assert said == [("a", ""), ("", "<|call|>"), *[("", "")] * 5]
