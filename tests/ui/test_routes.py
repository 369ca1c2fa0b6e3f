"""What pages fetch: whatever comes in, an answer that the page can show."""

import json
import sqlite3

import httpx
import pytest

from foredraft.chats import ChatStore
from foredraft.config.folders import data_folder
from foredraft.core.stats import GenerationStats
from foredraft.server import run
from foredraft.server.app import create_app
from foredraft.server.context import ServerSettings
from foredraft.ui.app import app_state
from foredraft.ui.routes import add_routes
from tests.server import toy


@pytest.fixture
def made():
    services = toy.services(ServerSettings(port=0, max_body=200_000))
    services.chats = ChatStore(None)
    app = create_app(services)
    state = app_state(services)
    add_routes(app, state)
    with run.serving(app, services) as address, httpx.Client(base_url=address, timeout=60) as http:
        yield http, state


def test_bodies_that_are_too_large_are_said_to_be(made):
    http, _ = made

    def chunks():
        for _ in range(300):
            yield b"x" * 1000

    for path in ("send", "attach?name=a.txt", "unsent", "import"):
        answer = http.post(f"/_foredraft/{path}", content=chunks())
        assert answer.status_code == 413, path
        assert "200,000" in answer.text


def test_json_that_is_too_much_is_said_to_be(made):
    http, _ = made
    for path in ("send", "import"):
        answer = http.post(f"/_foredraft/{path}", content="[" * 200 + "]" * 200)
        assert answer.status_code == 400, path
        assert "100" in answer.json()["error"]
    assert http.post("/_foredraft/import", content="nonsense").status_code == 400


def test_a_number_that_is_none_is_refused(made):
    http, _ = made
    assert http.get("/_foredraft/answers/" + "9" * 25).status_code == 400
    assert http.get("/_foredraft/answers/1?from=" + "9" * 25).status_code == 200


def test_an_imported_chat_can_be_shown(made):
    """Whatever it says about its answers: what a page could not show is left out."""
    http, state = made
    sound = {"stats": GenerationStats(tokens=3).as_dict(), "timeline": [[0.0, 1]], "events": []}
    for meta, kept in (
        (sound, sound),
        ({"stats": {"tokens": 3}, "timeline": 3, "seed": 1}, {"seed": 1}),
        ({"stats": {**sound["stats"], "tokens": "three"}}, {}),
        ({"stats": [], "events": [1]}, {}),
    ):
        messages = [{"role": "assistant", "text": "a", "meta": meta}]
        answer = http.post("/_foredraft/import", json={"format": "foredraft-chat-1", "messages": messages})
        (message,) = state.chats.messages(answer.json()["chat"])
        assert message.meta == json.loads(json.dumps(kept))


def test_settings_that_are_no_json_are_none():
    path = data_folder() / "chats.db"
    store = ChatStore(path)
    chat = store.create("a")
    db = sqlite3.connect(path)
    db.execute("UPDATE chats SET settings = 'nonsense'")
    db.commit()
    db.close()
    assert store.get(chat.id).settings == {}
    store.close()
