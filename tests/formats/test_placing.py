"""Each token of an answer comes back once, with what is seen of it."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.formats.response_parser import ResponseParser
from foredraft.formats.table import UNKNOWN, form_of
from foredraft.formats.token_parser import TokenParser
from foredraft.scheduling.stream import Piece
from tests.formats.samples import bound, pieces
from tests.formats.test_cutting import answers

HARMONY = (
    "<|channel|>analysis<|message|>Hm, two.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Two, I say.<|return|>"
)


def placed(reader, said, size):
    """All that comes back, asked for a few pieces at a time."""
    made = [one for at in range(0, len(said), size) for one in reader.place(said[at : at + size])]
    return made + reader.rest()


def seen(made, *, thinking):
    return "".join(one.seen for one in made if one.thinking is thinking)


@settings(max_examples=400, deadline=None)
@given(answers(), st.booleans(), st.booleans(), st.integers(1, 5), st.integers(1, 30))
def test_what_is_seen_is_what_is_read(answer, thinking, control, size, together) -> None:
    form, text = answer
    form = form.without_calls()
    form, tokens = bound(form) if control else (form, {})
    said = pieces(text, tokens, size)
    whole = ResponseParser(thinking, form)
    whole.read(said)
    whole.end()
    reader = TokenParser(thinking, form)
    made = placed(reader, said, together)
    assert "".join(one.piece.text for one in made) == "".join(piece.text for piece in said)
    assert [one.piece.control for one in made if one.piece.control] == [one.control for one in said if one.control]
    assert (reader.content, reader.reasoning) == (whole.content, whole.reasoning)
    if not reader.turned:  # else what came before was given out as content
        assert (seen(made, thinking=False), seen(made, thinking=True)) == (whole.content, whole.reasoning)


@given(st.lists(st.text(alphabet="ab {}[]\"':,\n<>/", max_size=4), max_size=20))
def test_tokens_of_a_plain_answer_come_back_as_they_are(texts) -> None:
    said = [Piece(number, text, origin="accepted", draft_position=1) for number, text in enumerate(texts)]
    made = placed(TokenParser(False, form_of("")), said, 1)
    assert [one.piece for one in made] == said
    assert all(one.seen == one.piece.text and not one.thinking for one in made)


def test_marks_of_control_tokens_are_not_seen() -> None:
    form, tokens = bound(form_of("<|channel|> <|message|> to=").without_calls())
    made = placed(TokenParser(False, form), pieces(HARMONY, tokens), 1)
    assert seen(made, thinking=True) == "Hm, two."
    assert seen(made, thinking=False) == "I look.\nTwo, I say."
    assert "".join(one.piece.text or one.piece.control for one in made) == HARMONY


def test_a_token_that_is_both_is_parted() -> None:
    form = dataclasses.replace(UNKNOWN, late=False)
    made = placed(TokenParser(False, form), [Piece(1, "<think>a</think>b", origin="accepted")], 1)
    assert [(one.piece.text, one.seen, one.thinking) for one in made] == [
        ("<think>a</think>", "a", True),
        ("b", "b", False),
    ]
    assert all(one.piece.origin == "accepted" for one in made)


def test_an_end_of_thinking_alone_turns_what_came_before() -> None:
    reader = TokenParser(False, form_of("</think>"))
    before = reader.place([Piece(1, "Hm"), Piece(2, ", so"), Piece(3, ".")])
    assert seen(before, thinking=False) == "Hm, so."
    after = reader.place([Piece(4, "</think>"), Piece(5, "\n\n"), Piece(6, "Yes")]) + reader.rest()
    assert reader.turned
    assert (seen(after, thinking=True), seen(after, thinking=False)) == ("", "Yes")
