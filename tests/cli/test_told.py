"""Thinking is told from the answer on the command line, by the program's own models and by the server's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from foredraft.cli import terminal
from foredraft.cli.chat import Conversation
from foredraft.cli.options import GenerateOptions
from foredraft.cli.partners import Here
from foredraft.cli.told import ToldByServer, as_dict, as_message, begin_here
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.client import Client
from foredraft.server.context import ServerSettings, Services
from tests.server import toy
from tests.server.thinkers import FAMILIES, SAID, THOUGHT, load

ASKED = GenerateOptions(temperature=0.0, max_tokens=300)
QUESTION = [{"role": "user", "content": "?"}]


class Shelf(toy.ToyShelf):
    NAMES = tuple(FAMILIES)  # type: ignore[assignment]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with toy.serving(Services(Runtime(load), Shelf(), ServerSettings())) as base:
        yield base


def here(family: str) -> Any:
    return load(LoadSpec(family, id=family), None)


def check(told: Any, *, late: bool) -> list[Any]:
    placed = list(told)
    result = told.result
    assert told.content == SAID
    assert told.reasoning.strip() == THOUGHT
    seen = ["".join(one.seen for one in placed if one.thinking is thinking) for thinking in (True, False)]
    if late:  # what has been printed is not taken back
        assert "".join(seen).startswith(THOUGHT)
        assert "".join(seen).endswith(SAID)
    else:
        assert seen == [told.reasoning, SAID]
        letters = [(letter, piece.origin) for piece in result.pieces for letter in piece.text]
        own = [(letter, one.piece.origin) for one in placed if not one.thinking for letter in one.seen]
        assert own == letters[-len(SAID) :]
    assert as_message(told) == {"role": "assistant", "content": SAID, "reasoning_content": told.reasoning}
    said = as_dict(told, result)
    assert (said["reasoning"], said["content"]) == (told.reasoning, SAID)
    assert said["text"] == result.text != SAID
    return [(letter, one.piece.origin) for one in placed for letter in one.seen if not letter.isspace()]


@pytest.mark.parametrize("family", FAMILIES)
def test_thinking_is_told_apart_here_and_by_the_server(family: str, address: str) -> None:
    late = family == "closed alone"
    with here(family) as llm, Client(address) as client:
        own = check(begin_here(llm, QUESTION, ASKED), late=late)
        remote = client.chat(QUESTION, model=family, temperature=0.0, max_tokens=300)
        theirs = check(ToldByServer(remote), late=late)
    assert "".join(letter for letter, _ in own) == "".join(letter for letter, _ in theirs)
    assert {origin for _, origin in own} >= {"accepted", "bonus"} <= {origin for _, origin in theirs}


def test_without_a_template_all_is_the_answer() -> None:
    with here("tags") as llm:
        told = begin_here(llm, "?", ASKED)
        text = "".join(one.seen for one in told)
        assert told.result.text == told.content == text
        assert (told.reasoning, as_dict(told, told.result).keys() & {"reasoning"}) == ("", set())


def test_thinking_is_printed_beside_the_answer_and_sent_back_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with here("mistral") as llm:
        asked: list[Any] = []
        prepare = llm.prepare
        monkeypatch.setattr(llm, "prepare", lambda wish: (asked.append(list(wish.messages)), prepare(wish))[1])
        talk = Conversation(Here(ASKED, llm), ASKED)
        talk._answer("?")
        out, err = capsys.readouterr()
        assert out == SAID + "\n"
        assert THOUGHT in err
        talk._answer("?")
    assert asked[1][1] == {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT}


def test_thinking_is_dim_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal, "coloured", lambda stream: True)
    with here("seed") as llm:
        writer = terminal.AnswerWriter()
        for one in begin_here(llm, QUESTION, ASKED):
            writer.write(one)
        writer.end()
    out, err = capsys.readouterr()
    assert terminal.THOUGHT in err
    assert terminal.ACCEPTED not in err
    assert terminal.ACCEPTED in out
