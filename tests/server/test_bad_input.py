"""Whatever comes in: an answer in OpenAI's form that names what was wrong, and a server that goes on."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from foredraft.core.errors import ParameterError
from foredraft.server.app import create_app
from foredraft.server.context import ServerSettings, Services
from foredraft.server.run import check_address
from tests.server import toy

ASK = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def services() -> Services:
    return toy.services(ServerSettings(max_body=100_000))


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def chat(**body: Any) -> dict[str, Any]:
    return {"model": "toy", "messages": ASK, "max_tokens": 3, **body}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"messages": []}, 400, "messages"),
        (chat(messages="Hi"), 400, "messages"),
        (chat(messages=[{"role": "king", "content": "Hi"}]), 400, "messages.0.role"),
        (chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400, "messages.0.content.0.type"),
        (chat(temperature="hot"), 400, "temperature"),
        (chat(temperature=-1), 400, "temperature"),
        (chat(top_p=2), 400, "top_p"),
        (chat(n=0), 400, "n"),
        (chat(n=99), 400, "n"),
        (chat(max_tokens=-3), 400, "max_tokens"),
        (chat(max_tokens=1.5), 400, "max_tokens"),
        (chat(temperature=True), 400, "temperature"),
        (chat(seed=False), 400, "seed"),
        (chat(logit_bias=[["a text", 1]]), 400, "logit_bias.a text"),
        (chat(logit_bias={"x": 1}), 400, "logit_bias.x"),
        (chat(logit_bias={"99999": 1}), 400, "logit_bias"),
        (chat(top_logprobs=3), 400, "top_logprobs"),
        (chat(logprobs=True, top_logprobs=99), 400, "top_logprobs"),
        (chat(tool_choice="required"), 400, "tool_choice"),
        (chat(speculative={"max_draft": 99}), 400, "speculative.max_draft"),
        (chat(speculative={"method": "magic"}), 400, "speculative.method"),
        (chat(logit_bias={"\ud800": 1}), 400, "logit_bias.\ufffd"),
        (chat(response_format={"type": "json_schema"}), 400, "response_format.json_schema.schema"),
        (chat(keep_alive="soon"), 400, "keep_alive"),
        (chat(model="toi"), 404, "model"),
        (chat(model="broken"), 400, "model"),
        (chat(model="toy-small", messages=[{"role": "user", "content": "a" * 500}]), 400, "messages"),
    ],
)
def test_a_wrong_parameter_is_named(http: httpx.Client, body: Any, status: int, param: str) -> None:
    typed = {"content-type": "application/json"}
    refused = http.post("/v1/chat/completions", content=json.dumps(body), headers=typed)
    said = refused.json()["error"]
    assert refused.status_code == status, said
    assert said["message"]
    assert said["param"] == param
    assert set(said) - {"reasons"} == {"message", "type", "param", "code", "hint"}


@pytest.mark.parametrize(
    ("path", "body", "param", "message"),
    [
        ("chat/completions", {}, "messages", "messages is missing."),
        ("chat/completions", [], None, "The body should be an object, not an empty list."),
        ("chat/completions", chat(stop=3), "stop", "stop should be a text or a list, not 3."),
        ("chat/completions", chat(stop=["a", 3]), "stop.1", "stop.1 should be a text, not 3."),
        ("chat/completions", chat(messages="Hi"), "messages", 'messages should be a list, not "Hi".'),
        (
            "chat/completions",
            chat(messages=[{"role": "user", "content": [{"text": "Hi"}]}]),
            "messages.0.content.0.type",
            "messages.0.content.0.type is missing.",
        ),
        (
            "chat/completions",
            chat(tool_choice={"type": "function"}),
            "tool_choice.function",
            "tool_choice.function is missing.",
        ),
        (
            "chat/completions",
            chat(keep_alive={}),
            "keep_alive",
            "keep_alive should be a number or a text, not an empty object.",
        ),
        ("chat/completions", chat(temperature=-1), "temperature", "temperature should be at least 0, not -1."),
        ("chat/completions", chat(top_k=1.5), "top_k", "top_k should be a whole number, not 1.5."),
        ("chat/completions", chat(seed=[]), "seed", "seed should be a whole number, not an empty list."),
        ("completions", {"prompt": [1, "a"]}, "prompt.1", 'prompt.1 should be a whole number, not "a".'),
        ("embeddings", {"input": []}, "input", "input should be a text or a list of at least 1, not an empty list."),
        ("responses", {"input": [3]}, "input.0", "input.0 should be an object, not 3."),
    ],
)
def test_the_true_reason_is_said_in_one_sentence(
    http: httpx.Client, path: str, body: Any, param: str | None, message: str
) -> None:
    said = http.post(f"/v1/{path}", json=body).json()["error"]
    assert (said["param"], said["message"]) == (param, message)


def test_parameters_of_the_address_are_worded_too(http: httpx.Client) -> None:
    said = http.get("/api/foredraft/log?count=x").json()["error"]
    assert (said["param"], said["message"]) == ("count", 'count should be a whole number, not "x".')


def test_what_helps_is_said(http: httpx.Client) -> None:
    unknown = http.post("/v1/chat/completions", json=chat(model="toi")).json()["error"]
    assert "toy" in unknown["hint"]
    long = [{"role": "user", "content": "a" * 500}]
    overflow = http.post("/v1/chat/completions", json=chat(model="toy-small", messages=long)).json()["error"]
    assert overflow["code"] == "context_length_exceeded"
    assert "128" in overflow["message"]
    history = [{"role": "user", "content": "a" * 20}, {"role": "assistant", "content": "b" * 20}] * 10
    body = chat(model="toy-small", messages=[*history, *ASK], truncation="auto")
    shortened = http.post("/v1/chat/completions", json=body)
    assert shortened.status_code == 200
    assert shortened.json()["usage"]["prompt_tokens"] < 128


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"nonsense", b"\xff\xfe", b'{"messages": NaN}', b'"a"', b"1" * 5000]
)
def test_what_is_not_json_is_refused(http: httpx.Client, body: bytes) -> None:
    refused = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_half_of_a_surrogate_pair_is_read(http: httpx.Client) -> None:
    """JavaScript sends one where an emoji was cut in two."""
    body = json.dumps(chat()).replace('"Hi"', '"Hi \\ud83d"')
    said = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert said.status_code == 200, said.text


def test_huge_bodies_are_refused_before_they_are_read(http: httpx.Client, address: str) -> None:
    assert http.post("/v1/chat/completions", content=b" " * 100_001).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 1000

    answer = http.post("/v1/chat/completions", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert http.get("/health").json()["status"] == "ok"


def test_unknown_paths_and_methods(http: httpx.Client) -> None:
    missing = http.get("/v1/chat/completion")
    assert missing.status_code == 404
    assert "/v1/chat/completions" in missing.json()["error"]["hint"]
    assert http.get("/v1/chat/completions").status_code == 405
    assert http.get("/v1/models/toi").status_code == 404
    assert http.get("/v1/models/toy").json()["id"] == "toy"


def test_embeddings_say_that_there_are_none(http: httpx.Client) -> None:
    refused = http.post("/v1/embeddings", json={"model": "toy", "input": "a"})
    assert refused.status_code == 400
    assert "embedding" in refused.json()["error"]["message"]


def test_a_failing_model_fails_one_request(http: httpx.Client, services: Services) -> None:
    http.post("/v1/chat/completions", json=chat())
    with services.runtime.use("toy") as model:
        model.scheduler.engine.fail("error")
    failed = http.post("/v1/chat/completions", json=chat())
    assert failed.status_code == 500
    assert failed.json()["error"]["type"] == "server_error"
    assert http.post("/v1/chat/completions", json=chat()).status_code == 200
    with services.runtime.use("toy") as model:
        model.scheduler.engine.fail("nan", after=2)
    with http.stream("POST", "/v1/chat/completions", json=chat(stream=True, max_tokens=50, ignore_eos=True)) as answer:
        said = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert json.loads(said[-2].removeprefix("data: "))["error"]["code"] == "nan_logits"
    assert http.post("/v1/chat/completions", json=chat()).status_code == 200


# ---- who may come in ----


def request(services: Services, path: str = "/v1/models", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(services))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3673") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def locked(services: Services) -> Services:
    return replace(services, settings=ServerSettings(api_key="secret-1"))


def test_the_key_is_asked_for(locked: Services) -> None:
    assert request(locked).status_code == 401
    assert request(locked).headers["www-authenticate"]
    assert request(locked, authorization="Bearer wrong").status_code == 401
    assert request(locked, authorization="secret-1").status_code == 401
    assert request(locked, authorization="Bearer secret-1").status_code == 200
    assert request(locked, authorization="bearer secret-1").status_code == 200
    assert request(locked, **{"x-api-key": "secret-1"}).status_code == 200
    assert request(locked, authorization="Basic eDpzZWNyZXQtMQ==").status_code == 200  # x:secret-1
    assert request(locked, authorization="Basic ???").status_code == 401
    assert request(locked, "/health").status_code in (200, 503)
    assert request(locked, "/metrics").status_code == 401
    assert request(locked, "/docs").status_code == 401


def test_web_pages_of_others_may_not_call(services: Services) -> None:
    assert request(services, origin="https://evil.example").status_code == 403
    assert request(services, origin="http://127.0.0.1:3673").status_code == 200
    assert request(services, host="evil.example").status_code == 403
    assert request(services, host="localhost:3673").status_code == 200
    allowed = replace(services, settings=ServerSettings(cors_origins=("https://good.example",)))
    answer = request(allowed, origin="https://good.example")
    assert answer.headers["access-control-allow-origin"] == "https://good.example"
    assert "access-control-allow-origin" not in request(services, origin="http://127.0.0.1:3673").headers


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_other_machines_need_a_key(host: str) -> None:
    with pytest.raises(ParameterError, match="api-key"):
        check_address(ServerSettings(host=host))
    check_address(ServerSettings(host=host, api_key="x"))
    for own in ("127.0.0.1", "::1", "localhost"):
        check_address(ServerSettings(host=own))


def test_metrics_count_what_was_answered(http: httpx.Client) -> None:
    def figure(name: str) -> float:
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in http.get("/metrics").text.splitlines()
            if line.startswith(f"foredraft_{name}") and not line.startswith(f"foredraft_{name}_created")
        )

    before = {kind: figure(kind) for kind in ('tokens_total{kind="generated"', "answers_total", "draft_tokens_total")}
    answer = http.post("/v1/chat/completions", json=chat(max_tokens=20, ignore_eos=True)).json()
    assert figure("answers_total") == before["answers_total"] + 1
    assert figure('tokens_total{kind="generated"') == before['tokens_total{kind="generated"'] + 20
    drafted = answer["stats"]["total_draft_tokens_count"]
    assert figure("draft_tokens_total") == before["draft_tokens_total"] + drafted > 0
    for name in ("acceptance", "running", "waiting", "slots", "process_bytes", "rounds_total", "saved_seconds"):
        assert f"foredraft_{name}" in http.get("/metrics").text


def test_the_log_has_no_prompts(http: httpx.Client, address: str) -> None:
    secret = "z q x j secret"
    http.post("/v1/chat/completions", json=chat(messages=[{"role": "user", "content": secret}]))
    entries = http.get("/api/foredraft/log?count=50").json()["entries"]
    assert {"request", "answer"} <= {entry["kind"] for entry in entries}
    assert secret not in json.dumps(entries)
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as raw:
        raw.sendall(b"GET /api/foredraft/log?count=1&follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"event-stream" in raw.recv(4096)


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"context": "x"}, "context"),
        ({"slots": 1.5}, "slots"),
        ({"kv_type": "q9"}, "kv_type"),
        ({"kv_type": ["f16"]}, "kv_type"),
        ({"flash_attention": True}, "flash_attention"),
        ({"mmap": "yes"}, "mmap"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_settings_of_a_load_have_types(http: httpx.Client, settings: dict[str, Any], param: str) -> None:
    refused = http.post("/api/foredraft/load", json={"model": "toy-small", "settings": settings})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_errors_and_the_log_do_not_repeat_megabytes(http: httpx.Client) -> None:
    said = http.post("/v1/chat/completions", json=chat(model="m" * 50_000)).json()["error"]
    assert len(said["message"]) <= 2000
    http.get("/v1/" + "p" * 20_000)
    entries = http.get("/api/foredraft/log?count=5").json()["entries"]
    assert max(len(entry["message"]) for entry in entries) < 1000


def test_images_of_other_pages_are_refused(http: httpx.Client) -> None:
    """They name no origin; a link that is followed is no image."""
    cross = {"sec-fetch-site": "cross-site"}
    assert http.get("/health", headers={**cross, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert http.get("/health", headers={**cross, "sec-fetch-mode": "navigate"}).status_code == 200
    assert (
        http.get("/health", headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"}).status_code == 200
    )


def test_the_documentation_needs_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in page.text.replace("http://www.w3.org", "").replace("HTTP", "")
    assert "<script" not in page.text
    for path, methods in http.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page.text
    assert "draft_required" in page.text


# ---- whatever a generator of requests can think of ----

KNOWN = [status_code_conformance, content_type_conformance, response_schema_conformance, response_headers_conformance]
MODES = {"as described": GenerationMode.POSITIVE, "otherwise": GenerationMode.NEGATIVE}
OPERATIONS = [
    pytest.param(path, method.upper(), mode, id=f"{method} {path} {name}")
    for path, methods in create_app(toy.services()).openapi()["paths"].items()
    for method, operation in methods.items()
    for name, mode in MODES.items()
    if not path.endswith("/log")  # endless
    and (name == "as described" or "requestBody" in operation or "query" in str(operation.get("parameters")))
]


@pytest.fixture(scope="module")
def described() -> Iterator[schemathesis.BaseSchema]:
    """The API of a server that lives as long as the tests do."""
    with toy.serving(toy.services(ServerSettings(max_answers=2))) as at:
        yield schemathesis.openapi.from_url(f"{at}/openapi.json")


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_every_answer_is_one_that_is_documented(
    described: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(described[path][method].as_strategy(generation_mode=mode))
    def asked(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "toy-embed" if path.endswith("embeddings") else "toy-small"  # answers end
        answer = case.call()
        checks = [*KNOWN, *([] if answer.status_code == 503 else [not_a_server_error])]  # a model was just unloaded
        case.validate_response(answer, checks=checks)

    asked()


def test_errors_are_described(http: httpx.Client) -> None:
    api = http.get("/openapi.json").json()
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert {"400", "401", "403", "404", "500", "503"} <= operation["responses"].keys(), (method, path)
            assert "422" not in operation["responses"]
    assert "HTTPValidationError" not in api["components"]["schemas"]
    chat_answers = api["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert set(chat_answers["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "X-Foredraft-Warnings" in chat_answers["200"]["headers"]
    assert chat_answers["413"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
