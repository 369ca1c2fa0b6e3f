"""A model's process dies: its answers end with a typed error, everybody else's go on, and it is loaded again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from foredraft.cli.main import app as command
from foredraft.config.settings import load_settings
from foredraft.config.shelf import open_shelf
from foredraft.engines.base import Engine
from foredraft.engines.isolated import IsolatedEmbedder, IsolatedEngine
from foredraft.pair.llm import LLM
from foredraft.pair.opening import Isolation
from foredraft.runtime import restart_policy
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.managed_model import LoadSpec, Progress
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import ServerSettings, Services
from foredraft.server.loading import load_pair
from foredraft.server.shelf import StoreShelf
from foredraft.speculative.drafters import Arbiter, ModelDrafter
from tests import tiny_gguf
from tests.conftest import ROOT
from tests.engines import openers
from tests.server import toy
from tests.server.test_ending import Asked, last_event

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
TOKENS, LONG = 150, 4000
ENDLESS = {"logit_bias": {"1": -100}, "temperature": 0, "max_tokens": TOKENS}
"""The toy's end token is never chosen."""
UNLIMITED = {"logit_bias": {"1": -100}, "temperature": 0}


def opened(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """In the process: the toy of the other tests of the server."""
    return openers.toy({"seed": 11, "n_vocab": toy.N_VOCAB, "order": toy.ORDER, "sharpness": 3.0, **given}, report)


def load(spec: LoadSpec, progress: Progress) -> LLM | Embedder:
    """Toys in processes of their own; "drafted" has a draft in one, too; "vectors" is a real embedding model."""
    if spec.kind == "embedding":
        where = IsolatedEmbedder("tests.engines.openers:embedder", {"path": spec.model})
        return Embedder(where)
    settings = {"n_slots": 2, "n_ctx": 4096, "n_batch": 256, "chat_template": toy.CHATML, "name": spec.id}

    def engine(**more: Any) -> IsolatedEngine:
        given = {**settings, "pass_s": 0.005, **spec.settings, **more}
        return IsolatedEngine("tests.server.test_dying:opened", given, progress=lambda share: progress("main", share))

    llm = Drafted(engine(), isolation=(Isolation(True),))
    if spec.model == "drafted":
        llm.make = lambda: engine(name="draft", pass_s=0.0)
        llm.set_draft("draft")
    return llm


class Drafted(LLM):
    """Whose draft is the same toy, again in a process of its own."""

    make: Callable[[], IsolatedEngine] | None = None

    def set_draft(self, draft: Any, **more: Any) -> None:
        self.scheduler.drafter.close()
        if draft and self.make is not None:
            engine = self.make()
            self.scheduler.drafter = Arbiter([ModelDrafter(engine, self.engine.info.n_vocab)])
            self.draft.info, self.draft.isolation = engine.info, (Isolation(True),)


class Names(toy.ToyShelf):
    NAMES = ("first", "second", "drafted")

    def spec(self, name: str, draft: str | None = "auto") -> LoadSpec:
        return LoadSpec(name, draft="draft" if name == "drafted" else None, id=name)


@pytest.fixture(autouse=True)
def children_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@contextmanager
def served() -> Iterator[tuple[Services, httpx.Client]]:
    services = Services(Runtime(load, auto_evict=False), Names(), ServerSettings(), default_model="first")
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as http:
        yield services, http


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **ENDLESS, **more}


def said(http: httpx.Client, model: str, **more: Any) -> str:
    answer = http.post("/v1/chat/completions", json=chat(model, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def streamed(text: str) -> str:
    """The text of a stream that ended well."""
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event).get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def state(http: httpx.Client, model: str) -> dict[str, Any]:
    models = http.get("/api/foredraft/models").json()["models"]
    return next((one for one in models if one["id"] == model), {})


def pid(http: httpx.Client, model: str, part: str = "main") -> int:
    return state(http, model)["places"][part]["pid"]


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.timeout(120)
def test_a_killed_process_ends_its_own_answers_and_nobody_else_s() -> None:
    with served() as (services, http):
        address = str(http.base_url)
        expected = {model: said(http, model) for model in ("first", "second")}
        beside = Asked(address, "/v1/chat/completions", chat("second", stream=True))
        lost = [
            Asked(address, "/v1/chat/completions", chat("first", stream=True, max_tokens=LONG)),
            Asked(address, "/api/v1/chat", {"model": "first", "input": "Hi", "stream": True, **UNLIMITED}),
        ]
        for stream in (beside, *lost):
            assert stream.begun.wait(60)
        queued = [  # of the two slots none is free
            Asked(address, "/v1/chat/completions", chat("first")),
            Asked(address, "/v1/responses", {"model": "first", "input": "Hi", "stream": True}),
        ]
        wait_for(lambda: state(http, "first")["waiting"] == 2)
        os.kill(pid(http, "first"), signal.SIGKILL)
        for asked in (beside, *lost, *queued):
            asked.join(60)
            assert not asked.is_alive()
        completion, lmstudio = lost
        error = last_event(completion.text)["error"]
        assert error["code"] == "engine_died"
        assert error["type"] == "unavailable_error"
        assert "SIGKILL" in error["message"]
        assert "send the request again" in error["hint"]
        assert completion.text.rstrip().endswith("data: [DONE]")
        assert last_event(lmstudio.text)["error"]["code"] == "engine_died"
        assert "engine_died" in queued[1].text
        assert queued[0].status == 503
        assert queued[0].headers["retry-after"]
        assert json.loads(queued[0].text)["error"]["code"] == "engine_died"
        assert streamed(beside.text) == expected["second"]
        assert said(http, "first") == expected["first"]
        now = state(http, "first")
        assert now["deaths"] == 1
        assert "SIGKILL" in now["last_death"]
        assert state(http, "second")["deaths"] == 0
        assert now["totals"]["failed"] == 4
        assert any(entry.fields.get("died") for entry in services.event_log.recent(2000))
        metrics = http.get("/metrics").text
        resident = re.search(r'foredraft_model_process_bytes{model="first"} (\S+)', metrics)
        assert resident is not None
        assert float(resident[1]) > 2**20
        assert 'foredraft_deaths_total{model="first",part="main"} 1.0' in metrics
        assert 'foredraft_answers_total{model="first",outcome="engine_died"} 4.0' in metrics


@pytest.mark.timeout(120)
def test_one_that_dies_idle_is_loaded_again_before_anybody_asks() -> None:
    with served() as (_, http):
        text = said(http, "first", max_tokens=5)
        before = pid(http, "first")
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: (now := state(http, "first")) and now["deaths"] == 1 and now["status"] == "ready")
        assert pid(http, "first") != before
        assert said(http, "first", max_tokens=5) == text


@pytest.mark.timeout(120)
def test_one_that_dies_again_and_again_is_given_up_until_it_is_loaded_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as (services, http):
        for deaths in range(restart_policy.DEATHS):
            text = said(http, "first", max_tokens=5)
            assert state(http, "first")["deaths"] == deaths
            os.kill(pid(http, "first"), signal.SIGKILL)
            wait_for(lambda deaths=deaths: (state(http, "first") or {"deaths": deaths + 1})["deaths"] == deaths + 1)
            wait_for(lambda: not state(http, "first") or state(http, "first")["status"] == "ready")
        assert not state(http, "first")
        refused = http.post("/v1/chat/completions", json=chat("first"))
        assert refused.status_code == 503
        error = refused.json()["error"]
        assert error["code"] == "model_given_up"
        assert "3 times" in error["message"]
        assert "SIGKILL" in error["message"]
        assert 0 < int(refused.headers["retry-after"]) <= restart_policy.WITHIN_S + 1
        assert any("too often" in entry.message for entry in services.event_log.recent(2000))
        assert http.post("/api/foredraft/load", json={"model": "first"}).status_code == 200
        assert said(http, "first", max_tokens=5) == text
        monkeypatch.setattr(restart_policy, "WITHIN_S", 0.0)
        os.kill(pid(http, "first"), signal.SIGKILL)
        wait_for(lambda: (now := state(http, "first")) and now["deaths"] == 1 and now["status"] == "ready")


@pytest.mark.timeout(120)
def test_ps_says_where_models_lie_and_what_became_of_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with served() as (_, http):
        said(http, "first", max_tokens=5)
        os.kill(pid(http, "first"), signal.SIGKILL)
        wait_for(lambda: (now := state(http, "first")) and now["deaths"] == 1 and now["status"] == "ready")
        monkeypatch.setenv("FOREDRAFT_SERVER__PORT", str(http.base_url.port))
        with contextlib.suppress(SystemExit):
            command(["ps"], standalone_mode=False)
        shown = capsys.readouterr().out
        assert f"first: main in a process of its own (PID {pid(http, 'first')})." in shown
        assert "first: loaded again 1 time. The process that held first has ended (SIGKILL" in shown


@pytest.mark.parametrize("wish", ["auto", "on", "off"])
def test_the_setting_reaches_every_load_of_the_server(wish: str) -> None:
    shelf = StoreShelf(open_shelf(), load_settings({"server.isolation": wish}))
    assert shelf.spec(shelf.embedded()).settings["isolation"] == wish


@pytest.mark.timeout(120)
def test_a_cancelled_answer_and_an_unloaded_model_leave_no_process() -> None:
    with served() as (_, http):
        said(http, "first", max_tokens=5)
        number = pid(http, "first")
        with http.stream("POST", "/v1/chat/completions", json=chat("first", stream=True, max_tokens=LONG)) as answer:
            next(answer.iter_lines())
        wait_for(lambda: state(http, "first")["running"] == 0)
        assert state(http, "first")["totals"]["cancelled"] == 1
        assert http.post("/api/foredraft/unload", json={"model": "first"}).status_code == 200
        wait_for(lambda: not psutil.pid_exists(number))
        said(http, "first", max_tokens=5)
        number = pid(http, "first")
    wait_for(lambda: not psutil.pid_exists(number))


@pytest.mark.timeout(120)
def test_the_death_of_a_draft_costs_no_answer() -> None:
    with served() as (services, http):
        expected = said(http, "drafted")
        running = Asked(str(http.base_url), "/v1/chat/completions", chat("drafted", stream=True))
        assert running.begun.wait(60)
        before = pid(http, "drafted", "draft")
        os.kill(before, signal.SIGKILL)
        running.join(60)
        assert streamed(running.text) == expected
        wait_for(lambda: state(http, "drafted")["status"] == "ready" and pid(http, "drafted", "draft") != before)
        assert state(http, "drafted")["deaths"] == 0
        answer = http.post("/v1/chat/completions", json=chat("drafted")).json()
        assert answer["choices"][0]["message"]["content"] == expected
        assert state(http, "drafted")["speculation"]["status"] != "unavailable"
        assert [entry.fields["part"] for entry in services.event_log.recent(2000) if entry.fields.get("died")] == [
            "draft"
        ]


@pytest.mark.timeout(120)
def test_an_embedding_model_that_dies_is_loaded_again(tmp_path: Path) -> None:
    path = tiny_gguf.bert(tmp_path / "tiny.gguf", word_pieces=True)
    with served() as (services, http):
        spec = LoadSpec(str(path), draft=None, id="vectors", kind="embedding")
        asyncio.run(services.runtime.load(spec))
        body = {"model": "vectors", "input": [[1, 2, 3]]}
        before = http.post("/v1/embeddings", json=body).json()["data"]
        os.kill(pid(http, "vectors"), signal.SIGKILL)
        wait_for(lambda: (now := state(http, "vectors")) and now["deaths"] == 1 and now["status"] == "ready")
        assert http.post("/v1/embeddings", json=body).json()["data"] == before


@pytest.mark.timeout(240)
def test_a_file_that_is_cut_in_mid_answer_ends_that_answer_alone(chat_pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The real loader and real files. What is mapped of the file is gone: SIGBUS."""
    main, _ = chat_pair
    if not main.is_file():
        pytest.skip(f"no pair at {main}")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(main.read_bytes())
    settings = {"context": 2048, "isolation": "on", "numerics": "fast", "probe": False, "remember": False}
    runtime = Runtime(load_pair, auto_evict=False)
    for name, path in (("cut", cut), ("whole", main)):
        asyncio.run(runtime.load(LoadSpec(str(path), draft=None, id=name, ttl_s=None, settings=settings)))
    services = Services(runtime, default_model="whole")
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as http:
        more = {"max_tokens": 1500, "ignore_eos": True}
        expected = said(http, "whole", **more)
        assert said(http, "cut", **more) == expected
        beside = Asked(address, "/v1/chat/completions", chat("whole", stream=True, **more))
        lost = Asked(address, "/v1/chat/completions", chat("cut", stream=True, **more))
        for asked in (beside, lost):
            assert asked.begun.wait(60)
        os.truncate(cut, 4096)
        for asked in (beside, lost):
            asked.join(60)
        error = last_event(lost.text)["error"]
        assert error["code"] == "engine_died"
        assert "SIGBUS" in error["message"]
        assert streamed(beside.text) == expected
        assert said(http, "whole", **more) == expected
        refused = http.post("/v1/chat/completions", json=chat("cut"))
        assert refused.status_code in (400, 404), "the file is damaged, and there is no shelf to find it on"
