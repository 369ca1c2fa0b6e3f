"""The commands of `foredraft chat`, without a terminal: a partner that notes what it is asked."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from foredraft.cli import conversations
from foredraft.cli.chat import SETTABLE, Conversation
from foredraft.cli.options import GenerateOptions
from foredraft.config.folders import data_folder
from foredraft.core.errors import ForedraftError


class Stream:
    def __init__(self, text: str) -> None:
        self.result = SimpleNamespace(text=text, as_dict=lambda: {"text": text})
        self.reasoning, self.content = "", text

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Partner:
    def __init__(self) -> None:
        self.turns: list[list[dict[str, str]]] = []
        self.asked: GenerateOptions | None = None

    def answer(self, turn: list[dict[str, str]], text: str) -> Any:
        self.turns.append(turn)
        return Stream(f"answer {len(self.turns)}")

    names = ("first", "")

    def set_model(self, name: str) -> str:
        if name == "bad":
            raise ForedraftError("There is no model 'bad'.")
        self.names = (name, "")
        return f"{name} answers from now on."

    def set_draft(self, draft: str) -> str:
        if draft == "bad":
            raise ForedraftError("It does not fit.")
        return f"draft {draft}"

    def set_asked(self, asked: GenerateOptions) -> None:
        self.asked = asked


@pytest.fixture
def talk(user_folders: Any) -> tuple[Conversation, Partner]:
    partner = Partner()
    return Conversation(partner, GenerateOptions(as_json=True)), partner


def test_a_conversation_is_kept_and_gone_on_with(talk: tuple[Conversation, Partner]) -> None:
    one, partner = talk
    one._command("/system Be brief.")
    one._answer("Hi")
    one._command("/save my talk")
    one._command("/new")
    assert one.messages == [{"role": "system", "content": "Be brief."}]
    one._command("/system Other.")
    one._command("/load my talk")
    one._answer("And?")
    assert [message["content"] for message in partner.turns[-1]] == ["Be brief.", "Hi", "answer 1", "And?"]
    assert conversations.names() == ["my talk"]
    if os.name == "posix":
        assert (data_folder() / "conversations" / "my talk.json").stat().st_mode & 0o077 == 0


def test_an_answer_is_written_once_more(talk: tuple[Conversation, Partner]) -> None:
    one, partner = talk
    one._answer("Hi")
    one._command("/regen")
    assert partner.turns[0] == partner.turns[1]
    assert [message["content"] for message in one.messages] == ["Hi", "answer 2"]


def test_an_answer_that_fails_leaves_the_one_there_was(talk: tuple[Conversation, Partner]) -> None:
    one, partner = talk
    one._answer("Hi")
    before = list(one.messages)

    def gone(turn: list[dict[str, str]], text: str) -> Any:
        raise ForedraftError("The server is gone.")

    partner.answer = gone  # type: ignore[method-assign]
    one._command("/regen")
    assert one.messages == before


def test_settings_are_changed_and_checked(
    talk: tuple[Conversation, Partner], capsys: pytest.CaptureFixture[str]
) -> None:
    one, partner = talk
    one._command("/set temperature 0.2")
    assert partner.asked is not None
    assert partner.asked.temperature == 0.2
    one._command("/set seed 7")
    one._command("/set seed none")
    assert one.asked.seed is None
    for wrong in ("/set temperature -1", "/set temperature hot", "/set colour red", "/set top_p none"):
        one._command(wrong)
    assert one.asked.temperature == 0.2
    assert capsys.readouterr().err.count("must be") == 4
    assert set(SETTABLE) <= {field.name for field in dataclasses.fields(GenerateOptions)}


def test_what_is_wrong_is_said_and_changes_nothing(
    talk: tuple[Conversation, Partner], capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = talk
    for command, says in (
        ("/regen", "no answer yet"),
        ("/load nothing", "no conversation 'nothing'"),
        ("/save ../../etc", "name is"),
        ("/draft bad", "It does not fit."),
        ("/model bad", "There is no model 'bad'."),
        ("/sav x", "Did you mean: /save?"),
        ("/what", "There is no command '/what'."),
    ):
        assert not one._command(command)
        assert says in capsys.readouterr().err
    assert one._command("/exit")


def test_another_model_goes_on_with_the_same_conversation(
    talk: tuple[Conversation, Partner], capsys: pytest.CaptureFixture[str]
) -> None:
    one, partner = talk
    one._answer("Hi")
    one._command("/model")
    assert "first answers. Available: " in capsys.readouterr().err
    one._command("/model second")
    one._answer("And?")
    assert partner.names[0] == "second"
    assert [message["content"] for message in partner.turns[-1]] == ["Hi", "answer 1", "And?"]


def test_a_damaged_file_is_no_conversation(user_folders: Any) -> None:
    folder = data_folder() / "conversations"
    folder.mkdir(parents=True)
    for content in ("{", "[]", '{"messages": [{"role": "king", "content": "x"}]}', '{"messages": 3}'):
        (folder / "bad.json").write_text(content, encoding="utf-8")
        with pytest.raises(ForedraftError):
            conversations.load("bad")
