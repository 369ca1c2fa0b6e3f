"""Only what has changed is built anew: pieces of a page, rows of a list, the messages of a chat."""

from nicegui import ui
from nicegui.testing.user_simulation import user_simulation

from foredraft.chats.records import DONE, RUNNING
from foredraft.ui.components.part import Part, Rows
from foredraft.ui.components.token_stream import TokenStream
from foredraft.ui.writing import Writing
from tests.ui.fakes import LOADED

STATS = {
    "tokens": 30, "rounds": 10, "accepted": 20, "rejected": 5, "drafted": 25, "generation_s": 1.0, "draft_s": 0.1,
    "tokens_per_second": 30.0, "acceptance": 0.8, "tokens_per_round": 3.0, "time_to_first_token_s": 0.1,
    "prompt_tokens": 1, "verify_s": 0.8, "other_s": 0.1, "acceptance_by_position": [0.8],
}  # fmt: skip


class Named:
    def __init__(self):
        self.element = ui.label()


async def test_a_part_is_built_when_what_it_shows_is_another():
    built = []

    def page():
        part = Part()
        for value in ([1], [1], [2], None, None):
            part.show(value, lambda value=value: built.append(value))

    async with user_simulation() as user:
        ui.page("/")(page)
        await user.open("/")
    assert built == [[1], [2], None]


async def test_rows_are_kept_moved_made_and_deleted():
    seen = []

    def page():
        box = ui.element("ul")
        rows = Rows(box)
        for keys in ("abc", "cab", "xcb", ""):
            seen.append(rows.show(list(keys), lambda _: Named()))
            assert [row.element for row in seen[-1]] == list(box)

    async with user_simulation() as user:
        ui.page("/")(page)
        await user.open("/")
    abc, cab, xcb, none = seen
    assert [abc[2], abc[0], abc[1]] == cab
    assert xcb[1:] == [cab[0], cab[2]]
    assert abc[0].element.is_deleted
    assert none == []


def streams(user):
    """The answers of the page in their order, by element."""
    return sorted(user.find(TokenStream).elements, key=lambda element: element.id)


async def test_messages_that_stay_are_left_alone_and_an_answer_is_not_shown_twice(app):
    async with app(LOADED) as (user, state):
        chats = state.chats
        chat = chats.create("Talk")
        asked = chats.add(chat.id, "user", "One?", parent=None)
        first = chats.add(chat.id, "assistant", "One.", parent=asked, tokens=[["One.", "m", 0]], meta={"stats": STATS})
        await user.open(f"/c/{chat.id}")
        await user.should_see("One?")
        (old,) = streams(user)

        asked = chats.add(chat.id, "user", "Two?", parent=first)
        answer = chats.add(chat.id, "assistant", "", parent=asked, status=RUNNING)
        writing = state.generations._writing[answer] = Writing(answer, chat.id)
        state.hub.publish("messages", chat.id)
        await user.should_see("Two?")
        kept, live = streams(user)
        assert kept is old
        assert live.props["src"] == f"/_foredraft/answers/{answer}?from=0"
        assert len(user.find("One?").elements) == 1

        writing.tokens, writing.done = [["Two.", "a", 1]], True
        meta = {"stats": {**STATS, "tokens_per_second": 77.0}}
        chats.save_answer(answer, "Two.", writing.tokens, status=DONE, meta=meta)
        state.hub.publish("answer", chat.id)
        await user.should_see("77.0 tok/s")
        assert streams(user) == [old, live]

        del state.generations._writing[answer]
        chats.show(first)
        chats.remove(asked)
        state.hub.publish("messages", chat.id)
        await user.should_not_see("Two?")
        assert streams(user) == [old]
