"""What Anthropic's own client makes of errors, keys and names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from foredraft.server.aliases import Aliases
from foredraft.server.anthropic import routes
from foredraft.server.context import ServerSettings, Services
from tests.clients.saying import saying
from tests.server import toy

ASK: list[Any] = [{"role": "user", "content": "Who?"}]


@pytest.fixture(scope="module")
def services() -> Services:
    return toy.services()


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    with toy.serving(services) as base:
        yield base


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=address, api_key="none", max_retries=0) as one:
        yield one


def ask(client: Anthropic, **more: Any) -> Any:
    return client.messages.create(**{"model": "toy", "messages": ASK, "max_tokens": 40, **more})


@pytest.mark.parametrize(
    ("fields", "error", "kind", "words"),
    [
        ({"model": "toi"}, anthropic.NotFoundError, "not_found_error", "toi"),
        ({"messages": []}, anthropic.BadRequestError, "invalid_request_error", "messages"),
        ({"temperature": -1}, anthropic.BadRequestError, "invalid_request_error", "temperature"),
        ({"tool_choice": {"type": "any"}}, anthropic.BadRequestError, "invalid_request_error", "tool_choice"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]},
            anthropic.BadRequestError,
            "invalid_request_error",
            "messages.0.content.0: Images cannot be read",
        ),
        (
            {"model": "toy-small", "messages": [{"role": "user", "content": "a b " * 100}]},
            anthropic.BadRequestError,
            "invalid_request_error",
            "prompt is too long: ",
        ),
        ({"stop_sequences": ["x" * 2000]}, anthropic.BadRequestError, "invalid_request_error", "1,000"),
        ({"messages": ASK * 10_001}, anthropic.BadRequestError, "invalid_request_error", "10,000"),
    ],
)
def test_errors_have_their_types(client: Anthropic, fields: Any, error: Any, kind: str, words: str) -> None:
    for stream in (False, True):
        extra = {"temperature": fields["temperature"]} if "temperature" in fields else {}
        given = {name: value for name, value in fields.items() if name != "temperature"}
        with pytest.raises(error) as raised:
            ask(client, stream=stream, extra_body=extra, **given)
        body: Any = raised.value.body
        assert body["type"] == "error"
        assert body["error"]["type"] == kind
        assert words in body["error"]["message"]
        assert raised.value.request_id == body["request_id"]


def test_an_error_in_a_stream_is_an_event(client: Anthropic, services: Services) -> None:
    ask(client, max_tokens=1)
    with services.runtime.use("toy") as model:
        engine: Any = model.scheduler.engine
    passes: list[None] = []

    def break_it() -> None:
        passes.append(None)
        if len(passes) > 5:
            raise toy.EngineError("broken on purpose")

    engine.during = break_it
    try:
        with (
            saying(routes, "word " * 200),
            client.messages.stream(model="toy", messages=ASK, max_tokens=900) as stream,
            pytest.raises(anthropic.APIStatusError, match="broken on purpose"),
        ):
            stream.until_done()
    finally:
        engine.during = None


def test_a_key_in_either_header_and_errors_of_the_guard() -> None:
    with toy.serving(toy.services(ServerSettings(api_key="secret"))) as address:
        for given in ({"api_key": "secret"}, {"auth_token": "secret"}):
            with Anthropic(base_url=address, max_retries=0, **given) as client:
                assert ask(client, max_tokens=2).id
        assert httpx.get(f"{address}/v1/models", headers={"x-api-key": "secret"}).status_code == 200
        with (
            Anthropic(base_url=address, api_key="wrong", max_retries=0) as client,
            pytest.raises(anthropic.AuthenticationError) as raised,
        ):
            ask(client)
        body: Any = raised.value.body
        assert body["error"]["type"] == "authentication_error"
        assert raised.value.request_id


# ---- names ----


def test_the_list_has_the_form_of_whoever_asks(client: Anthropic, address: str) -> None:
    found = {model.id: model for model in client.models.list()}
    assert set(found) == {name for name in toy.ToyShelf.NAMES if name != "toy-embed"}
    assert found["toy"].type == "model"
    assert found["toy"].display_name == "toy"
    pages = client.models.list(limit=1)
    assert pages.has_more
    assert [model.id for model in pages] == list(found)
    assert client.models.retrieve("toy").id == "toy"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("toi")
    plain = httpx.get(f"{address}/v1/models").json()
    assert plain["object"] == "list"


def test_names_of_anthropics_models_mean_the_default_aloud(client: Anthropic) -> None:
    message = ask(client, model="claude-sonnet-9-1", max_tokens=3)
    assert message.model == "toy"
    (warning,) = message.warnings
    assert "claude-sonnet-9-1" in warning
    assert client.messages.count_tokens(model="claude-haiku", messages=ASK).input_tokens > 0
    assert client.models.retrieve("claude-opus").id == "toy"
    with pytest.raises(anthropic.NotFoundError):
        ask(client, model="gpt-5")


def test_an_alias_says_which_model_it_is() -> None:
    services = toy.services()
    services.aliases = Aliases({"claude-haiku-*": "toy-small", "claude-*": "toy"})
    with toy.serving(services) as address, Anthropic(base_url=address, api_key="none", max_retries=0) as client:
        small = ask(client, model="Claude-Haiku-9", max_tokens=2)
        assert small.model == "toy-small"
        assert not hasattr(small, "warnings")
        assert ask(client, model="claude-opus-9", max_tokens=2).model == "toy"
        with httpx.Client(base_url=address, timeout=60) as http:  # by every door
            gone = http.post("/api/v1/models/unload", json={"instance_id": "claude-opus-9"})
            assert gone.json() == {"instance_id": "toy"}
            back = http.post("/api/foredraft/load", json={"model": "claude-opus-9"})
            assert back.json()["id"] == "toy"
