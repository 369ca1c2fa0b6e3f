"""What documented clients send is understood, or left out aloud. The inputs are those of public bug reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from foredraft.requests.warnings import MOST
from foredraft.server.lenient import HEADER, LONGEST_HEADER

ASK = [{"role": "user", "content": "What is the capital of France?"}]
OK = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


LONG = {"model": "toy-small", "input": "Hi", "ignore_eos": True}


def ask(http: httpx.Client, path: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    given = {"model": "toy", "messages": ASK, "max_tokens": 12, "seed": 1, **body}
    answer = http.post(path, json=given)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    assert json.loads(answer.headers.get(HEADER, "[]")) == said.get("warnings", [])
    return said


def text(answer: dict[str, Any]) -> str:
    said: str = answer["choices"][0]["message"]["content"]
    return said


# ---- numbers ----


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v0/chat/completions"])
@pytest.mark.parametrize("none", [-1, None, "-1", -1.0])
def test_no_limit_is_said_in_many_ways(http: httpx.Client, path: str, name: str, none: Any) -> None:
    answer = ask(http, path, model="toy-small", ignore_eos=True, **{"max_tokens": None, name: none})
    assert answer["stats"]["stop_reason"] == "contextLengthReached"
    assert "warnings" not in answer


def test_the_other_dialects_have_no_limit_either(http: httpx.Client) -> None:
    lmstudio = http.post("/api/v1/chat", json={**LONG, "max_output_tokens": -1}).json()
    assert lmstudio["stats"]["total_output_tokens"] > 20
    responses = http.post("/v1/responses", json={**LONG, "max_output_tokens": -1}).json()
    assert responses["usage"]["output_tokens"] > 20
    done = http.post(
        "/v1/completions", json={"model": "toy-small", "prompt": "Hi", "max_tokens": -1, "ignore_eos": True}
    ).json()
    assert done["usage"]["completion_tokens"] > 20


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"top_k": -1}, {"top_k": 0}),
        ({"top_k": -1.0}, {"top_k": 0}),
        ({"top_k": "3"}, {"top_k": 3}),
        ({"top_k": 3.0}, {"top_k": 3}),
        ({"temperature": "1.5"}, {"temperature": 1.5}),
        ({"max_tokens": 5.0}, {"max_tokens": 5}),
        ({"seed": 7.0}, {"seed": 7}),
        ({"seed": "7"}, {"seed": 7}),
        ({"repetition_penalty": 1.8}, {"repeat_penalty": 1.8}),
        ({"logit_bias": [[3, 4.5], ["4", 2]]}, {"logit_bias": {"3": 4.5, "4": 2}}),
        ({"logit_bias": None, "stop": None, "n": None, "tools": None, "tool_choice": None}, {}),
        ({"top_p": None, "min_p": None, "presence_penalty": None, "stream_options": None, "user": None}, {}),
        ({"speculative": None, "draft_required": None, "ignore_eos": None, "truncation": None}, {}),
        ({"stream": "false", "logprobs": None, "top_logprobs": 0}, {}),
        ({"draft_model": None, "ttl": None, "keep_alive": None, "reasoning_effort": None}, {}),
        ({"draft_model": "", "ttl": -1, "keep_alive": "", "reasoning_effort": "", "stop": ""}, {}),
        ({"ttl": "300", "keep_alive": "-1"}, {}),
        ({"user": "u-1", "metadata": {"a": "b"}, "safety_identifier": "x"}, {}),
    ],
)
def test_what_is_written_otherwise_is_understood(http: httpx.Client, given: Any, same: Any) -> None:
    one, other = ask(http, **given), ask(http, **same)
    assert text(one) == text(other)
    assert "warnings" not in one


def test_penalties_and_bias_do_something(http: httpx.Client) -> None:
    """So that the texts above are not the same because nothing was done."""
    plain = text(ask(http, max_tokens=40))
    assert text(ask(http, max_tokens=40, repetition_penalty=1.8)) != plain
    assert text(ask(http, max_tokens=40, repetition_penalty=1.8, repeat_last_n=0)) == plain
    assert text(ask(http, logit_bias=[[3, 100]], max_tokens=5)) == "aaaaa"
    body = {"max_tokens": 200, "speculative": {"explain": True}, "logit_bias": [[3, False]], "ignore_eos": True}
    assert 3 not in {origin["token"] for origin in ask(http, **body)["choices"][0]["explain"]["origins"]}
    body["logit_bias"] = []
    assert 3 in {origin["token"] for origin in ask(http, **body)["choices"][0]["explain"]["origins"]}
    assert len(text(ask(http, top_k=1, temperature=1))) > 0


@pytest.mark.parametrize("fresh", [-1, None, "-1"])
def test_a_fresh_seed_is_reported_and_gives_the_same_text_again(http: httpx.Client, fresh: Any) -> None:
    answers = [ask(http, seed=fresh, max_tokens=30) for _ in range(2)]
    seeds = [answer["stats"]["seed"] for answer in answers]
    assert seeds[0] != seeds[1]
    for answer, seed in zip(answers, seeds, strict=True):
        assert text(ask(http, seed=seed, max_tokens=30)) == text(answer)
        assert text(ask(http, seed=seed, max_tokens=30, draft_model="off")) == text(answer)


def test_many_stop_strings(http: httpx.Client) -> None:
    plain = text(ask(http, max_tokens=40))
    stops = [f"no such text {n}" for n in range(127)]
    for draft in ("off", "good-draft"):
        assert text(ask(http, max_tokens=40, stop=stops, draft_model=draft)) == plain
        cut = ask(http, max_tokens=40, stop=[*stops, plain[10:13]], draft_model=draft)
        assert text(cut) == plain[: plain.index(plain[10:13])]


# ---- how to think ----


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max", "on", "default", True])
def test_every_effort_thinks(http: httpx.Client, effort: Any) -> None:
    quiet = ask(http)["usage"]["prompt_tokens"]
    for answer in (ask(http, reasoning_effort=effort), ask(http, chat_template_kwargs={"enable_thinking": True})):
        assert answer["usage"]["prompt_tokens"] > quiet
        assert "warnings" not in answer
    for none in ("none", "off", False):
        assert ask(http, reasoning_effort=none)["usage"]["prompt_tokens"] == quiet
    body = {"model": "toy", "input": "Hi"}
    said = [http.post("/v1/responses", json={**body, "max_output_tokens": 1, "reasoning": {"effort": e}}).json()
            for e in (effort, "none")]  # fmt: skip
    assert said[0]["usage"]["input_tokens"] > said[1]["usage"]["input_tokens"]
    said = [http.post("/api/v1/chat", json={**body, "max_output_tokens": 1, "reasoning": e}).json()
            for e in (effort, "off")]  # fmt: skip
    assert said[0]["stats"]["input_tokens"] > said[1]["stats"]["input_tokens"]


def test_an_effort_that_nobody_knows_is_left_out_aloud(http: httpx.Client) -> None:
    answer = ask(http, reasoning_effort="a great deal")
    assert answer["warnings"] == ["reasoning_effort: 'a great deal' is not known, left out."]
    assert text(answer) == text(ask(http))


# ---- forms ----


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_object", "schema": OK},
        {"type": "json_schema", "schema": OK},
        {"type": "json_schema", "json_schema": {"name": "x", "strict": "true", "schema": OK}},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {"ok": {"type": "boolean"}}}}},
    ],
)
def test_a_schema_is_kept_wherever_it_stands(http: httpx.Client, form: Any) -> None:
    for seed in range(3):
        said = {
            text(ask(http, response_format=form, seed=seed, max_tokens=60, draft_model=draft))
            for draft in ("off", "good-draft")
        }
        assert said <= ({'{"ok": true}', '{"ok": false}'} if "required" in str(form) else {'{"ok": true}', "{}", *said})
        assert len(said) == 1


def test_what_of_a_schema_is_not_kept_is_said(http: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"p": {"type": "string", "format": "path", "maxLength": 8}}}
    form = {"type": "json_schema", "json_schema": {"schema": {**schema, "required": ["p"]}}}
    answer = ask(http, response_format=form, max_tokens=60)
    assert set(json.loads(text(answer))) == {"p"}
    place = "response_format.json_schema.schema: properties.p"
    assert answer["warnings"] == [f"{place}: the format 'path' is not known, and not kept to."]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"not": {}, "const": 1}}}}}
    answer = ask(http, tools=[tool], tool_choice="required", max_tokens=60)
    assert answer["warnings"] == ["tools: f.properties.a: not is not kept to."]


# ---- what is not known ----


def test_what_is_not_known_is_said(http: httpx.Client) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {}}], "annotations": []},
        {"role": "assistant", "content": "Yes", "audio": {"id": 1}, "refusal": None},
        {"role": "user", "content": [{"type": "text", "text": "So?", "cache_control": {"type": "ephemeral"}}]},
    ]
    answer = ask(http, messages=messages, mirostat=2, service_tier="flex", web_search_options={}, verbosity=None)
    assert sorted(answer["warnings"]) == [
        "messages.audio: not known here, left out.",
        "messages.content.cache_control: not known here, left out.",
        "mirostat: not known here, left out.",
        "service_tier: not known here, left out.",
    ]


def test_a_stream_says_it_in_its_header_and_its_last_chunk(http: httpx.Client) -> None:
    said = ["mirostat: not known here, left out."]
    body = {"model": "toy", "max_tokens": 3, "mirostat": 2, "stream": True}
    for path, more in (
        ("/v1/chat/completions", {"messages": ASK}),
        ("/v1/completions", {"prompt": "Hi"}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 3}),
        ("/api/v1/chat", {"input": "Hi", "max_output_tokens": 3}),
    ):
        if path in ("/v1/responses", "/api/v1/chat"):
            body.pop("max_tokens", None)
        with http.stream("POST", path, json={**body, **more}) as answer:
            assert json.loads(answer.headers[HEADER]) == said
            lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
        last = json.loads([line for line in lines if line != "[DONE]"][-1])
        assert (last.get("warnings") or last.get("response", last.get("result", {})).get("warnings")) == said, path


def test_whole_answers_of_every_dialect_say_it(http: httpx.Client) -> None:
    said = ["mirostat: not known here, left out."]
    for path, more in (
        ("/v1/completions", {"prompt": "Hi", "max_tokens": 1}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 1}),
        ("/api/v0/chat/completions", {"messages": ASK, "max_tokens": 1}),
        ("/api/v1/chat", {"input": "Hi", "max_output_tokens": 1}),
        ("/v1/embeddings", {"model": "toy-embed", "input": "Hi"}),
    ):
        answer = http.post(path, json={"model": "toy", "mirostat": 2, **more})
        assert answer.json()["warnings"] == said, path
        assert json.loads(answer.headers[HEADER]) == said


def test_warnings_end(http: httpx.Client) -> None:
    """However much there is to say, in however strange letters."""
    body = {"model": "toy", "messages": ASK, "max_tokens": 1, **{f"日\n{n}{'x' * 900}": 1 for n in range(3000)}}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert len(answer.json()["warnings"]) == MOST
    assert all(len(said) <= 200 for said in answer.json()["warnings"])
    assert len(answer.headers[HEADER]) <= LONGEST_HEADER
    assert json.loads(answer.headers[HEADER]) == answer.json()["warnings"][: len(json.loads(answer.headers[HEADER]))]


def test_warnings_are_of_one_request(http: httpx.Client) -> None:
    assert ask(http, mirostat=2)["warnings"]
    assert "warnings" not in ask(http)
