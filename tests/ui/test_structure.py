"""Structured output: what is wrong with a schema, where, and that answers follow it."""

import json

import pytest

from foredraft.chats import ChatStore
from foredraft.grammars.constraints import GrammarError, json_grammar
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.ui.choices import Choices
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from foredraft.ui.structure import EXAMPLE, Fault, fault_of, schema_of
from tests.server import toy
from tests.ui.fakes import LOADED, press, sees

SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("text", ["", "  \n", "{}", json.dumps(EXAMPLE), json.dumps({"name": "x", "schema": SCHEMA})])
def test_a_sound_schema_has_no_fault(text):
    assert fault_of(text) is None
    assert json_grammar(schema_of(text))


def test_a_slip_in_the_json_is_told_by_line_and_column():
    assert fault_of('{\n  "type": "object",\n}') in (
        Fault("Expecting property name enclosed in double quotes", line=3, column=1),
        Fault("Illegal trailing comma before end of object", line=2, column=19),
    )
    with pytest.raises(GrammarError, match="not JSON"):
        schema_of("{")


def test_a_fault_in_the_schema_is_told_by_its_path():
    fault = fault_of(json.dumps({"type": "object", "properties": {"a": {"items": {"type": "integr"}}}}))
    assert fault.path == "properties.a.items"
    assert "integr" in fault.reason
    assert fault_of("null").reason == "a schema is an object, not null"
    assert fault_of("3").reason.startswith("a schema is an object, not 3")


def test_what_is_pasted_from_an_api_call_means_its_schema():
    wrapped = json.dumps({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}})
    assert schema_of(wrapped) == SCHEMA


@pytest.fixture
async def made():
    runtime = Runtime(toy.load)
    chats = ChatStore(None)
    generations = Generations(Services(runtime), chats, Hub())
    await runtime.load(LoadSpec("toy", id="toy"))
    yield generations, chats
    await generations.close()
    await runtime.close(0.0)
    chats.close()


async def answered(generations, chats, **settings):
    chat = chats.create(settings={"seed": 1, "max_tokens": 60, "structured": True, **settings})
    question = chats.add(chat.id, "user", "a", parent=None)
    message_id = generations.answer(chat.id, question)
    await generations.of(message_id).task
    return chats.message(message_id)


async def test_answers_follow_the_schema(made):
    generations, chats = made
    for seed in range(5):
        answer = await answered(generations, chats, schema=json.dumps(SCHEMA), seed=seed)
        assert json.loads(answer.text) in ({"ok": True}, {"ok": False})
        assert json.loads(answer.meta["schema"]) == SCHEMA


async def test_an_answer_is_continued_inside_its_schema(made):
    generations, chats = made
    answer = await answered(generations, chats, schema=json.dumps(SCHEMA), max_tokens=4)
    assert answer.meta["stop_reason"] == "length"
    chats.change(answer.chat_id, settings={"seed": 1, "structured": False})
    generations._writing.clear()
    assert generations.go_on(answer)
    await generations.of(answer.id).task
    assert json.loads(chats.message(answer.id).text) in ({"ok": True}, {"ok": False})


async def test_a_schema_that_cannot_be_used_ends_the_answer_with_its_reason(made):
    generations, chats = made
    answer = await answered(generations, chats, schema='{"type": "integr"}')
    assert answer.status == "failed"
    assert answer.meta["error"]["code"] == "grammar"
    assert "integr" in answer.meta["error"]["message"]


def test_settings_keep_what_was_typed():
    choices = Choices(structured=True, schema="{")
    assert Choices.of(choices.stored()) == choices
    assert Choices.of({"schema": 3}) == Choices()


async def test_the_section_says_what_is_wrong_and_where(app):
    async with app(LOADED) as (user, state):
        state.chats.set_preference(
            "choices", {"structured": True, "schema": '{"properties": {"age": {"type": "integr"}}}'}
        )
        await user.open("/")
        await sees(user, "This schema cannot be used at properties.age:")
    async with app(LOADED, language="ja") as (user, state):
        state.chats.set_preference("choices", {"structured": True, "schema": "{"})
        await user.open("/")
        await sees(user, "JSON として読めません（1 行 2 列）")


async def test_the_section_says_what_is_not_kept(app):
    async with app(LOADED) as (user, state):
        schema = {"properties": {"tags": {"type": "array", "uniqueItems": True}}}
        state.chats.set_preference("choices", {"structured": True, "schema": json.dumps(schema)})
        await user.open("/")
        await sees(user, "Left out: properties.tags: uniqueItems is not kept to.")
        await sees(user, "The schema is in force from the next answer on.")


async def test_an_example_is_put_in_force(app):
    async with app(LOADED) as (user, state):
        await user.open("/")
        await sees(user, "Empty: any JSON object.")
        press(user, "Insert an example")
        await sees(user, "The schema is in force from the next answer on.")
        choices = Choices.of(state.chats.preference("choices"))
        assert choices.structured
        assert json.loads(choices.schema) == EXAMPLE


async def test_users_do_not_see_it(app):
    async with app(LOADED, mode="user") as (user, _):
        await user.open("/")
        await user.should_not_see("Structured output")
