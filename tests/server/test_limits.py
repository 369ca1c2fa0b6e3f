"""What one request may ask for: at each limit it is served, one step beyond it is refused with both numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from foredraft.core.errors import LimitError
from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer
from foredraft.models.template import ChatTemplate
from foredraft.requests.tokenizing import BoundedTokenizer
from foredraft.server import limits
from foredraft.server.context import Services
from foredraft.server.limits import check_grammar, check_json, check_schema

ASK = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def chat(**body: Any) -> dict[str, Any]:
    return {"model": "toy", "messages": ASK, "max_tokens": 2, **body}


def tool(number: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": f"f{number}", "parameters": {"type": "object", **more}}}


def schema_of(**schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}


def refused(answer: httpx.Response, limit: limits.Limit, param: str | None, has: int | None = None) -> None:
    said = answer.json()["error"]
    assert answer.status_code == limit.status, said
    assert said["code"] == "limit"
    assert said["param"] == param
    assert f"{limit.most:,}" in said["message"]
    assert f"{has if has is not None else limit.most + 1:,} {limit.what}" in said["message"]


BEYOND = {
    "messages": (limits.MESSAGES, chat(messages=ASK * 10_001)),
    "messages.content": (limits.PARTS, chat(messages=[{"role": "user", "content": [{"type": "text"}] * 1001}])),
    "stop": (limits.STOPS, chat(stop=["a"] * 129)),
    "logit_bias": (limits.BIAS, chat(logit_bias={str(n): 0.0 for n in range(4097)})),
    "tools": (limits.TOOLS, chat(tools=[tool(n) for n in range(129)])),
    "response_format.grammar": (
        limits.GRAMMAR,
        chat(response_format={"type": "grammar", "grammar": "a" * (limits.GRAMMAR.most + 1)}),
    ),
}


@pytest.mark.parametrize("param", list(BEYOND))
def test_more_than_a_field_may_have_is_refused_with_both_numbers(http: httpx.Client, param: str) -> None:
    limit, body = BEYOND[param]
    refused(http.post("/v1/chat/completions", json=body), limit, param)


def test_every_dialect_refuses(http: httpx.Client) -> None:
    items = [{"role": "user", "content": "Hi"}] * 10_001
    refused(http.post("/v1/responses", json={"input": items}), limits.MESSAGES, "input")
    refused(http.post("/api/v0/chat/completions", json=chat(messages=ASK * 10_001)), limits.MESSAGES, "messages")
    parts = [{"type": "text", "content": "Hi"}] * 10_001
    lmstudio = http.post("/api/v1/chat", json={"input": parts})
    refused(lmstudio, limits.MESSAGES, "input")
    assert lmstudio.json()["error"]["type"] == "invalid_request"
    refused(http.post("/v1/completions", json={"prompt": "a", "stop": ["a"] * 129}), limits.STOPS, "stop")
    texts = ["a" * 1000] * 16
    refused(http.post("/v1/completions", json={"prompt": "a", "stop": [*texts, "a"]}), limits.STOPS_LENGTH, "stop")
    refused(http.post("/v1/embeddings", json={"input": ["a"] * 2049}), limits.TEXTS, "input")


def test_what_is_at_its_limit_is_served(http: httpx.Client) -> None:
    fine = [
        chat(stop=["zzz" * 333] * 16),
        chat(messages=[{"role": "user", "content": [{"type": "text", "text": "a"}] * 1000}]),
        chat(tools=[tool(n) for n in range(100)], tool_choice="none"),
    ]
    for body in fine:
        answer = http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
    many = http.post("/v1/embeddings", json={"input": ["a"] * 2048})
    assert len(many.json()["data"]) == 2048
    long = chat(model="toy-small", messages=ASK * 10_000, truncation="auto")
    assert http.post("/v1/chat/completions", json=long).status_code == 200


# ---- JSON ----


@pytest.mark.parametrize("alone", [False, True])
def test_json_within_the_limits_passes(alone: bool) -> None:
    for value in (
        {"a": ['"', '\\"', "\\", "{[,:", "\\\\"]},
        {f"k{n}": n for n in range(limits.KEYS.most)},
        list(range(limits.VALUES.most - 2)),
        [[] for _ in range(limits.CONTAINERS.most - 1)],
    ):
        check_json(json.dumps(value).encode(), alone=alone)
    check_json(b"[" * 100 + b"]" * 100, alone=alone)
    check_json(b'["' + b"[" * 5000 + b'"]', alone=alone)  # in a text, nothing is nested
    check_json(b'["' + rb"\"[" * 5000 + b'"]', alone=alone)
    check_json(b'{"a": "' + b":" * 300_000 + b'"}', alone=alone)
    check_json(b'["' + b"[" * 5000, alone=alone)  # no JSON: its reader says so


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (b"[" * 101 + b"]" * 101, limits.NESTING),
        (b'{"a":' * 101 + b"1" + b"}" * 101, limits.NESTING),
        (b'["a",' * 101 + b"1" + b"]" * 101, limits.NESTING),
        (json.dumps({f"k{n}": 1 for n in range(limits.KEYS.most + 1)}).encode(), limits.KEYS),
        (json.dumps([1] * (limits.VALUES.most + 2)).encode(), limits.VALUES),
        (json.dumps([[] for _ in range(limits.CONTAINERS.most + 1)]).encode(), limits.CONTAINERS),
        (json.dumps([{"\\": '"'}] * (limits.KEYS.most + 1)).encode(), limits.KEYS),
    ],
    ids=["lists", "objects", "with texts", "keys", "values", "containers", "escapes"],
)
@pytest.mark.parametrize("alone", [False, True])
def test_json_beyond_a_limit_is_refused(body: bytes, limit: limits.Limit, alone: bool) -> None:
    with pytest.raises(LimitError) as error:
        check_json(body, alone=alone)
    assert error.value.most == limit.most < error.value.has
    assert limit.what in error.value.message


def test_a_body_beyond_a_limit_is_refused_over_http(http: httpx.Client) -> None:
    body = {**chat(), **{f"unknown{n}": 1 for n in range(limits.KEYS.most)}}
    refused(http.post("/v1/chat/completions", json=body), limits.KEYS, None)
    body = chat(chat_template_kwargs={"x": json.loads("[" * 98 + "]" * 98)})
    assert http.post("/v1/chat/completions", json=body).status_code == 200
    body = chat(chat_template_kwargs={"x": json.loads("[" * 99 + "]" * 99)})
    refused(http.post("/v1/chat/completions", json=body), limits.NESTING, None)


def test_arguments_of_calls_are_json_too(http: httpx.Client) -> None:
    def called(arguments: str) -> dict[str, Any]:
        call = {"id": "1", "function": {"name": "f", "arguments": arguments}}
        return chat(messages=[*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}, *ASK])

    deep = http.post("/v1/chat/completions", json=called("[" * 5000 + "]" * 5000))
    refused(deep, limits.NESTING, "messages.tool_calls.function.arguments")
    assert http.post("/v1/chat/completions", json=called("[" * 100 + "]" * 100)).status_code == 200


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("kind", ["text/plain", FORM, "", "application/a+json", "application/octet-stream"])
def test_json_need_not_say_that_it_is_json(http: httpx.Client, kind: str) -> None:
    """`curl -d` calls it a form."""
    headers = {"content-type": kind} if kind else {}
    answer = http.post("/v1/chat/completions", content=json.dumps(chat()), headers=headers)
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("marks", [{"user-agent": "Mozilla/5.0"}, {"referer": "https://a.example/"}, {"cookie": "a=b"},
                                   {"origin": "OWN"}, {"sec-fetch-site": "same-origin"}])  # fmt: skip
def test_from_a_browser_it_must(http: httpx.Client, address: str, marks: dict[str, str]) -> None:
    """Pages of others can send forms without asking first."""
    headers = {name: value.replace("OWN", address) for name, value in marks.items()}
    for kind in ("text/plain", FORM):
        answer = http.post(
            "/v1/chat/completions", content=json.dumps(chat()), headers={**headers, "content-type": kind}
        )
        assert answer.status_code == 415
        assert kind in answer.json()["error"]["message"]
        assert "application/json" in answer.json()["error"]["hint"]
    assert http.post("/v1/chat/completions", json=chat(), headers=headers).status_code == 200


def test_what_is_neither_json_nor_says_so_is_told_what_to_send(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", content=b"messages=Hi", headers={"content-type": FORM})
    assert answer.status_code == 415
    assert "application/json" in answer.json()["error"]["hint"]


# ---- schemas and grammars ----


def chain(count: int) -> dict[str, Any]:
    defs = {f"d{n}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}}} for n in range(count)}
    return {"$defs": {**defs, f"d{count}": {"type": "null"}}, "$ref": "#/$defs/d0"}


def test_schemas_have_limits() -> None:
    check_schema(chain(499))
    check_schema({"const": "a" * (limits.SCHEMA.most - 10)})
    check_schema({"properties": {"a" * 1000: True}})
    check_schema({"enum": list(range(19_000))})
    for schema, limit in (
        (chain(500), limits.DEFINITIONS),
        ({"definitions": {str(n): {} for n in range(501)}}, limits.DEFINITIONS),
        ({"anyOf": [{"$ref": "#"}] * 501}, limits.REFERENCES),
        ({"const": "a" * (limits.SCHEMA.most + 1)}, limits.SCHEMA),
        ({"properties": {"a" * 1001: True}}, limits.SCHEMA_NAME),
        ({"enum": list(range(20_001))}, limits.SCHEMA_NODES),
    ):
        with pytest.raises(LimitError) as error:
            check_schema(schema, "tools")
        assert (error.value.most, error.value.param) == (limit.most, "tools")
        assert limit.what in error.value.message


def test_schemas_are_checked_wherever_they_come_in(http: httpx.Client) -> None:
    place = "response_format.json_schema.schema"
    body = chat(**schema_of(**chain(1000)))
    refused(http.post("/v1/chat/completions", json=body), limits.DEFINITIONS, place, 1001)
    body = {"input": "a", "text": {"format": {"type": "json_schema", "schema": chain(1000)}}}
    refused(http.post("/v1/responses", json=body), limits.DEFINITIONS, "text.format.schema", 1001)
    body = chat(tools=[tool(**chain(1000))], tool_choice="required")
    refused(http.post("/v1/chat/completions", json=body), limits.DEFINITIONS, "tools", 1001)
    body = {"input": "a", "tools": [{"name": "f", "parameters": chain(1000)}]}
    refused(http.post("/v1/responses", json=body), limits.DEFINITIONS, "tools", 1001)


def test_grammars_have_limits(http: httpx.Client) -> None:
    def rules(count: int) -> str:
        return "start: r0\n" + "".join(f"r{n}: r{n + 1}\n" for n in range(count - 2)) + f'r{count - 2}: "a"\n'

    check_grammar(rules(500))
    with pytest.raises(LimitError, match="501 rules"):
        check_grammar(rules(501))
    with pytest.raises(LimitError, match="501 rules"):
        check_grammar("?a[lazy]: b\n" * 501)
    with pytest.raises(LimitError, match="references"):
        check_grammar("start: %json " + json.dumps({"anyOf": [{"$ref": "#"}] * 501}))
    body = chat(response_format={"type": "grammar", "grammar": rules(3000)})
    refused(http.post("/v1/chat/completions", json=body), limits.RULES, "response_format.grammar", 3000)


# ---- prompts ----


def test_a_prompt_that_cannot_fit_is_not_read(http: httpx.Client, services: Services) -> None:
    """Refused by its bytes: the tokenizer never sees it."""
    http.post("/v1/chat/completions", json=chat())
    with services.runtime.use("toy") as model:
        tokenizer = model.scheduler.engine.tokenizer
        longest = max(len(tokenizer.text(token).encode("utf-8", "replace")) for token in range(tokenizer.n_vocab))
        most = model.info.n_ctx * longest
    read: list[int] = []
    encode = type(tokenizer).encode

    def counted(self: Any, text: str, **more: Any) -> list[int]:
        read.append(len(text))
        return encode(self, text, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tokenizer), "encode", counted)
        for path, body in (
            ("/v1/chat/completions", chat(messages=[{"role": "user", "content": "a" * (most + 1)}])),
            ("/v1/completions", {"model": "toy", "prompt": "a" * (most + 1)}),
            ("/v1/completions", {"model": "toy", "prompt": "a", "prediction": {"content": "a" * (most + 1)}}),
            ("/v1/chat/completions/input_tokens", chat(messages=[{"role": "user", "content": "a" * (most + 1)}])),
            ("/v1/tokenize", {"model": "toy", "content": "a" * (most + 1)}),
            ("/v1/chat/completions", chat(messages=[{"role": "user", "content": "a" * (most + 1)}], truncation="auto")),
        ):
            said = http.post(path, json=body).json()["error"]
            assert said["code"] == "context_length_exceeded", path
            assert f"{most + 1:,}" in said["message"]
            assert f"{most:,}" in said["message"]
        assert max(read, default=0) <= most
    embedded = http.post("/v1/embeddings", json={"model": "toy-embed", "input": ["a", "a" * (700 * longest + 1)]})
    assert embedded.json()["error"]["param"] == "input.1"


def test_what_is_left_out_of_a_long_conversation_is_never_rendered(http: httpx.Client, services: Services) -> None:
    http.post("/v1/chat/completions", json=chat())
    rendered: list[int] = []
    render = ChatTemplate.render

    def counted(self: Any, messages: Any, **more: Any) -> str:
        rendered.append(len(messages))
        return str(render(self, messages, **more))

    history = [{"role": "user", "content": "a" * 20}, {"role": "assistant", "content": "b" * 20}] * 4000
    system = {"role": "system", "content": "Be brief."}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChatTemplate, "render", counted)
        body = chat(messages=[system, *history, *ASK], truncation="auto")
        answer = http.post("/v1/chat/completions", json=body).json()
    assert 3000 < answer["usage"]["prompt_tokens"] < 4096
    assert len(rendered) <= 3
    assert sum(rendered) < 1000


def test_the_table_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    for limit in limits.TABLE:
        assert f"| {limit.what} | {limit.most:,} |" in text, limit


CONTROL_HEAVY = (
    "<|end|>" * 3000,
    "<|user|>Hi there.<|end|>\n<|assistant|> Hello!  <|end|>" * 900,
    "x<|end|> y\n<|im_end|>" * 1500 + " the end",
    "あ<|end|>い<|system|>う" * 1200,
)


@pytest.mark.parametrize("number", range(len(CONTROL_HEAVY)))
def test_a_text_in_pieces_has_the_tokens_of_the_whole(chat_pair: tuple[Path, Path], number: int) -> None:
    """What is read piece by piece, because llama.cpp's time grows with the square of its control tokens."""
    text = CONTROL_HEAVY[number]
    with LlamaTokenizer.from_file(chat_pair[0]) as tokenizer:
        pieces: list[int] = []

        class Counted:
            def __getattr__(self, name: str) -> Any:
                return getattr(tokenizer, name)

            def encode(self, part: str, **more: Any) -> list[int]:
                pieces.append(len(part))
                return tokenizer.encode(part, **more)

        engine: Any = SimpleNamespace(tokenizer=Counted(), info=SimpleNamespace(n_ctx=1 << 20))
        assert BoundedTokenizer().encode(engine, text) == tokenizer.encode(text)
        assert max(pieces) < len(text) / 2
