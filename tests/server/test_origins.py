"""Windows of desktop programs, pages of this machine, containers: who may call, and what a browser is told."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from foredraft.server.context import ServerSettings
from foredraft.server.lenient import HEADER
from foredraft.server.origins import ALWAYS, allows, chosen
from tests.server import toy

DESKTOP = [
    "app://obsidian.md",
    "tauri://localhost",
    "http://tauri.localhost",
    "vscode-webview://1a2b",
    "vscode-file://x",
]
ASK = {"model": "toy", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
SECRET = b"s" * 32


@pytest.fixture(scope="module")
def usual() -> Iterator[str]:
    """As it is without a word of `--cors`."""
    with toy.serving(toy.services(ServerSettings(app_secret=SECRET))) as address:
        yield address


@pytest.fixture(scope="module")
def opened() -> Iterator[str]:
    with toy.serving(
        toy.services(ServerSettings(cors_origins=chosen(["loopback", "https://chat.example"])))
    ) as address:
        yield address


def call(address: str, origin: str, path: str = "/v1/chat/completions") -> httpx.Response:
    return httpx.post(f"{address}{path}", json=ASK, headers={"origin": origin}, timeout=60)


def preflight(address: str, origin: str, *, private: bool = True) -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    headers["access-control-request-headers"] = "content-type,authorization,x-stainless-os"
    if private:
        headers["access-control-request-private-network"] = "true"
    return httpx.options(f"{address}/v1/chat/completions", headers=headers)


def may(address: str, origin: str) -> bool:
    """Whether a page of the origin may call, and is told so: both or neither."""
    asked, plain, answer = preflight(address, origin), preflight(address, origin, private=False), call(address, origin)
    allowed = answer.status_code == 200
    assert (asked.status_code == 200) is (plain.status_code == 200) is allowed
    for said in (asked, plain, answer):
        assert said.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert "access-control-allow-credentials" not in said.headers
    assert asked.headers.get("access-control-allow-private-network") == ("true" if allowed else None)
    assert "access-control-allow-private-network" not in plain.headers
    if allowed:
        assert "x-stainless-os" in asked.headers["access-control-allow-headers"]
        assert HEADER in answer.headers["access-control-expose-headers"]
    return allowed


@pytest.mark.parametrize("origin", DESKTOP)
def test_windows_of_desktop_programs_may_call(usual: str, opened: str, origin: str) -> None:
    assert may(usual, origin)
    assert may(opened, origin)


STRANGERS = ["https://evil.example", "null", "file://", "http://localhost.evil.example", "https://chat.example.evil",
             "chrome-extension://abc", "http://tauri.localhost.evil", "app:evil", "http://evil/app://x"]  # fmt: skip


@pytest.mark.parametrize("origin", STRANGERS)
def test_nobody_else_may(usual: str, opened: str, origin: str) -> None:
    assert not may(usual, origin)
    assert not may(opened, origin)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:5173"])
def test_pages_of_this_machine_may_where_it_was_said(usual: str, opened: str, origin: str) -> None:
    assert not may(usual, origin)
    assert may(opened, origin)
    assert may(opened, "https://chat.example")
    assert not may(usual, "https://chat.example")


@pytest.mark.parametrize("origin", ["app://obsidian.md", "http://localhost:3000"])
def test_the_app_is_for_its_own_pages_alone(opened: str, origin: str) -> None:
    """Cookies of a host go to all its ports, so another page of this machine could act in the app."""
    assert call(opened, origin, "/_foredraft/send").status_code == 403
    assert httpx.get(f"{opened}/", headers={"origin": origin}).status_code == 403
    assert call(opened, opened, "/_foredraft/send").status_code != 403


def test_the_words_of_cors() -> None:
    assert chosen([]) == ALWAYS
    assert chosen(["none"]) == ()
    assert chosen(["none", "https://a.b"]) == ("https://a.b",)
    assert allows(["https://a.b"], "https://a.b")
    assert not allows(["https://a.b"], "https://a.b:1")
    assert allows(["https://a.b:*"], "https://a.b:1")
    assert allows(["https://a.b:*"], "https://a.b")
    assert not allows(["https://a.b:*"], "https://a.b.c:1")
    assert not allows(["https://a.b:*"], "http://a.b:1")
    assert allows(["moz-extension://*"], "moz-extension://1-2-3")
    assert allows(["*"], "https://anything.example")
    assert not allows(["*.example"], "https://a.example")
    for wrong in ("", "http://[", "http://a:b", "app://", "loopback"):
        assert allows(["loopback", *ALWAYS], wrong) is (wrong in ("app://", "loopback"))


# ---- containers ----

CONTAINER = ["host.docker.internal:3673", "host.containers.internal", "HOST.docker.internal"]


@pytest.mark.parametrize("host", CONTAINER)
def test_containers_may_call_by_the_name_that_they_know(usual: str, host: str) -> None:
    node = {"accept-language": "*", "sec-fetch-mode": "cors", "user-agent": "node"}
    for client in ({}, node):
        answer = httpx.post(f"{usual}/v1/chat/completions", json=ASK, headers={"host": host, **client}, timeout=60)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "marks",
    [
        {"origin": "http://host.docker.internal"},
        {"user-agent": "Mozilla/5.0 (X11)"},
        {"referer": "http://host.docker.internal/"},
        {"accept-language": "en"},
        {"cookie": "a=b"},
    ],
)
def test_a_page_that_has_taken_their_name_may_not(usual: str, marks: dict[str, str]) -> None:
    """A name that an attacker points to 127.0.0.1, once its page is open."""
    headers = {"host": "host.docker.internal", **marks}
    assert httpx.get(f"{usual}/v1/models", headers=headers).status_code == 403
    assert httpx.get(f"{usual}/", headers={"host": "host.docker.internal"}).status_code == 403


def test_other_names_of_the_kind_are_not_known(usual: str) -> None:
    for host in ("evil.internal", "host.docker.internal.evil", "docker.internal"):
        assert httpx.get(f"{usual}/v1/models", headers={"host": host}).status_code == 403
