"""The commands' client: what a server refuses is an error that can be worded in any language."""

from __future__ import annotations

import json

import httpx
import pytest

from foredraft.server.client import Client, ServerError
from foredraft.words import words
from tests.server import toy


@pytest.fixture(scope="module")
def address():
    with toy.serving(toy.services()) as address:
        yield address


def test_what_a_server_refuses_is_worded_in_the_users_language(address: str) -> None:
    with Client(address) as client, pytest.raises(ServerError) as refused:
        client.load("no-such-model")
    assert refused.value.code == "model_not_found"
    assert "no-such-model" in refused.value.message
    english, japanese = (refused.value.worded(words(language))[0] for language in ("en", "ja"))
    assert english == refused.value.message
    assert "no-such-model" in japanese
    assert japanese != english


@pytest.mark.parametrize(
    "reasons",
    [
        {},
        {"reasons": None},
        {"reasons": {"message": {"code": "of_a_later_version", "numbers": {}}}},
        {"reasons": {"message": {"numbers": {}}}},
        {"reasons": {"hint": {"code": "hint_load_again", "numbers": {}}}},
    ],
)
def test_a_server_of_another_version_is_quoted(reasons: dict[str, object]) -> None:
    body = {"error": {"message": "Too much. Ask for less.", "hint": "Ask for less.", "code": "later", **reasons}}
    client = Client("http://127.0.0.1:9")
    client._http = httpx.Client(  # a server that is not there to be asked
        transport=httpx.MockTransport(lambda _: httpx.Response(400, content=json.dumps(body))), base_url=client.address
    )
    with client, pytest.raises(ServerError) as refused:
        client.models()
    assert refused.value.worded(words("ja")) == ("Too much.", "Ask for less.")
