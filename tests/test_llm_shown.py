"""How the library's objects show themselves: short texts in a console, tokens in colour in a notebook."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest

from foredraft import LLM, Generation, Piece
from tests.test_llm import toy

HOSTILE = '<script>alert(1)</script> & "quotes" \''


class Page(HTMLParser):
    """Tags, attributes and texts of a piece of HTML. Every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.text, self._open = "", []
        self.marked: list[tuple[str, str]] = []
        """(title, text) of every token with a title."""
        self._title = ""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            self.attributes.setdefault(name, []).append(value or "")
        self._title = dict(attributes).get("title") or ""
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._title = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._title:
            self.marked.append((self._title, data))


@pytest.fixture
def answer() -> Generation:
    with toy() as llm:
        return llm.generate("ab", seed=3, max_tokens=60, ignore_eos=True)


def test_reprs_are_short_and_say_what_matters() -> None:
    with toy() as llm:
        assert (
            repr(llm)
            == f"LLM({llm.info.name} F64, draft {llm.draft_info.name}, context {llm.info.n_ctx}, answers at once: 1)"
        )
        stream = llm.stream("ab", seed=3, max_tokens=60, ignore_eos=True)
        assert repr(stream) == "AnswerStream('', 0 tokens, being written)"
        answer = stream.result
        assert repr(stream).endswith("60 tokens, ended by length)")
        said = repr(answer)
        assert said.startswith(f"Answer({answer.text[:20]!r}"[:-1])
        assert (
            f"60 tokens, ended by length, {answer.stats.accepted} of {answer.stats.drafted} draft tokens accepted"
            in said
        )
        assert max(map(len, (said, repr(stream), repr(llm), *map(repr, answer.pieces)))) < 160
        assert str(answer) == answer.text == str(stream)
    assert repr(llm).endswith("closed)")
    assert repr(Piece(5, " cat", "accepted", 1, "model")) == "Piece(' cat', accepted by model)"
    assert repr(Piece(5, "cat", "corrected", guess="dog")) == "Piece('cat', corrected instead of 'dog')"
    assert repr(Piece(6, control="<|im_end|>")) == "Piece('<|im_end|>', main)"
    assert str(Piece(5, " cat")) == " cat"


def test_a_notebook_shows_every_token_and_where_it_came_from(answer: Generation) -> None:
    page = Page(answer._repr_html_())
    assert answer.text in page.text
    accepted = [piece.text for piece in answer.pieces if piece.origin == "accepted" and piece.text]
    corrected = [piece for piece in answer.pieces if piece.origin == "corrected" and piece.text]
    assert accepted
    assert corrected
    assert [text for title, text in page.marked if title.startswith("accepted: guess")] == accepted
    assert [text for title, text in page.marked if title.startswith("corrected")] == [one.text for one in corrected]
    assert f"{corrected[0].guess!r}" in next(title for title, _ in page.marked if title.startswith("corrected"))
    assert f"{answer.stats.accepted} of {answer.stats.drafted} draft tokens accepted" in page.text


def test_html_is_escaped_and_needs_nothing_from_elsewhere(answer: Generation) -> None:
    pieces = [
        Piece(1, HOSTILE, "accepted", 1, source=HOSTILE),
        Piece(2, HOSTILE, "corrected", guess=HOSTILE),
        Piece(3, HOSTILE),
    ]
    hostile = dataclasses.replace(answer, text=HOSTILE * 3, pieces=pieces, model=HOSTILE, draft=HOSTILE)
    for shown in (hostile, dataclasses.replace(hostile, pieces=[])):
        page = Page(shown._repr_html_())
        assert set(page.tags) <= {"div", "span", "br"}
        assert set(page.attributes) <= {"style", "title"}
        assert "url(" not in "".join(page.attributes["style"])
        assert HOSTILE * 3 in page.text


def test_a_stream_that_nobody_reads_is_shown_whole() -> None:
    with toy() as llm:
        whole = llm.generate("ab", seed=3, max_tokens=20, ignore_eos=True)
        stream = llm.stream("ab", seed=3, max_tokens=20, ignore_eos=True)
        assert whole.text in Page(stream._repr_html_()).text
    assert isinstance(llm, LLM)
