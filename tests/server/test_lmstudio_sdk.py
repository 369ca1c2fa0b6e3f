"""LM Studio's SDK protocol, frame by frame. The libraries themselves are in tests/clients."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from foredraft.requests.warnings import MOST
from foredraft.server.context import ServerSettings, Services
from foredraft.server.downloads import Downloads
from foredraft.server.limits import SDK_CHANNELS
from foredraft.server.lmstudio.sdk import endpoints
from tests.server import toy
from tests.server.sdk_talk import ANY, TOY, Talk, load, question, talking, text_of

SHORT = {"temperature": 0, "maxPredictedTokens": {"checked": True, "value": 30}}


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def spelt(text: str) -> dict[str, Any]:
    """A toy says what it must."""
    return {"type": "gbnf", "gbnfGrammar": f"root ::= {json.dumps(text)}"}


# ---- who is there ----


def test_who_looks_for_lm_studio_finds_this(address: str) -> None:
    assert httpx.get(f"{address}/lmstudio-greeting").json() == {"lmstudio": True}
    assert httpx.get(f"{address}/lms-status").json()["name"] == "foredraft"
    assert httpx.get(f"{address}/llm").status_code == 404


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://example.com"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_pages_of_others_get_no_socket(address: str, headers: dict[str, str]) -> None:
    origin = headers.pop("Origin", None)
    with pytest.raises(InvalidStatus) as refused:
        connect(address.replace("http", "ws") + "/llm", origin=origin, additional_headers=headers).__enter__()  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


def test_the_apps_cookie_is_not_asked_for() -> None:
    with toy.serving(toy.services(ServerSettings(app_secret=b"secret"))) as address, talking(address) as talk:
        assert talk.call("listLoaded")["result"] == []


def test_nothing_is_answered_before_the_key_was_shown() -> None:
    key = "sk-lm-abcd1234:abcdefghij0123456789"
    with toy.serving(toy.services(ServerSettings(api_key=key))) as address:
        assert httpx.get(f"{address}/lmstudio-greeting").status_code == 200
        ws = address.replace("http", "ws") + "/system"
        for name, passkey, allowed in (
            ("abcd1234", "abcdefghij0123456789", True),
            ("any", key, True),
            ("abcd1234", "abcdefghij0123456780", False),
            ("guest:x", "", False),
        ):
            with connect(ws) as socket:
                said = Talk(socket).admit(name, passkey)
                assert said["success"] is allowed
                if not allowed:
                    assert "LM_API_TOKEN" in said["error"]
                    with pytest.raises(ConnectionClosed):
                        socket.recv(timeout=60)
        with connect(ws) as socket:
            talk = Talk(socket)
            talk.send(type="rpcCall", endpoint="listDownloadedModels", callId=0)
            assert talk.hear()["success"] is False
        with connect(ws, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
            assert Talk(socket).admit() == {"success": True}


# ---- frames ----


def test_calls_and_channels_have_numbers_of_their_own(address: str) -> None:
    with talking(address, "/system") as talk:
        talk.send(type="channelCreate", endpoint="alive", channelId=0)
        talk.send(type="rpcCall", endpoint="version", callId=0)
        assert set(talk.hear()["result"]) == {"version", "build"}
        talk.send(type="channelSend", channelId=0, message={"type": "cancel"}, ackId=4)
        said = [talk.hear(), talk.hear()]
        assert {"type": "channelAck", "channelId": 0, "ackId": 4} in said
        assert {"type": "channelClose", "channelId": 0} in said
        talk.send(type="keepAlive")
        assert talk.hear() == {"type": "keepAliveAck"}
        talk.send(type="signalSubscribe", subscribeId=3, endpoint="x")
        assert talk.hear()["type"] == "signalError"


def test_a_void_result_is_no_null(address: str) -> None:
    with talking(address) as talk:
        load(talk)
        assert talk.call("unloadModel", {"identifier": "toy"}) == {"type": "rpcResult", "callId": 1}
        found = talk.call("getModelInfo", {"specifier": TOY, "throwIfNotFound": False})
        assert found == {"type": "rpcResult", "callId": 2}


def test_what_is_not_served_is_said(address: str) -> None:
    with talking(address, "/plugins") as talk:
        error = talk.call("registerDevelopmentPlugin", {})["error"]
        assert error["title"] == error["rootTitle"]
        assert "not served" in error["title"]
        assert talk.messages("startToolUseSession")[-1]["type"] == "channelError"
    with talking(address, "/runtime") as talk:
        assert talk.call("listEngines")["result"] == []


def test_frames_that_are_none_do_not_end_the_socket(address: str) -> None:
    with talking(address, "/system") as talk:
        for nonsense in (
            "{",
            "[]",
            '"a"',
            '{"type": "odd"}',
            '{"type": "rpcCall"}',
            '{"type": "rpcCall", "callId": "x"}',
        ):
            talk.socket.send(nonsense)
            assert talk.hear()["type"] == "communicationWarning"
        error = talk.call("listDownloadedModelVariants", {"modelKey": 7})["error"]
        assert "modelKey" in error["title"]
        assert talk.call("getExperimentFlags")["result"] == []


def test_limits_have_both_numbers(address: str) -> None:
    with talking(address, "/system") as talk:
        talk.socket.send('{"type": "rpcCall", "parameter": ' + "[" * 200 + "]" * 200 + "}")
        assert "at most 100" in talk.hear()["warning"]
        with pytest.raises(ConnectionClosed) as closed:
            talk.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with talking(address, "/system") as talk:
        for _ in range(SDK_CHANNELS.most):
            talk.open("alive")
        error = talk.messages("alive")[-1]["error"]
        assert f"{SDK_CHANNELS.most + 1} channels" in error["title"]
        assert f"at most {SDK_CHANNELS.most}" in error["title"]


def test_a_frame_has_the_size_of_a_body() -> None:
    few = toy.services(ServerSettings(max_body=10_000))
    with toy.serving(few) as address, talking(address, "/system") as talk:
        talk.socket.send(json.dumps({"type": "x" * 20_000}))
        with pytest.raises(ConnectionClosed) as closed:
            talk.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_the_first_frame_is_small(address: str) -> None:
    with connect(address.replace("http", "ws") + "/system") as socket:
        talk = Talk(socket)
        talk.send(authVersion=1, clientIdentifier="a" * 10_000, clientPasskey="b")
        assert "at most 4,096" in talk.hear()["warning"]
        with pytest.raises(ConnectionClosed):
            talk.hear()


def test_no_more_is_read_than_is_worked_on() -> None:
    """Frames of which nothing has come yet hold memory: past two bodies of them, the others wait with the client."""
    go = threading.Event()

    def loader(spec: Any, progress: Any) -> Any:
        go.wait()
        return toy.load(spec, progress)

    of = Services(toy.Runtime(loader), toy.ToyShelf(), ServerSettings(max_body=10_000))
    with toy.serving(of) as address, talking(address) as talk, talking(address, "/system") as other:
        try:
            load_config = {"layers": [{"layerName": "x" * 9_000}]}
            for _ in range(3):
                talk.open("getOrLoad", {"identifier": "toy", "loadConfigStack": load_config})
            assert {talk.hear()["message"]["type"] for _ in range(3)} == {"startLoading"}
            talk.send(type="keepAlive")
            other.call("version")
        finally:
            go.set()
        kinds = []
        while not kinds or kinds[-1] != "keepAliveAck":
            frame = talk.hear()
            kinds.append(frame.get("message", frame)["type"])
        assert "loadSuccess" in kinds, "the frame behind them was read when one had been dealt with"


# ---- answers ----


def test_who_leaves_frees_the_slot(address: str, services: Services) -> None:
    with talking(address) as talk:
        load(talk)
        history = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Go on"}]}]}
        talk.open("predict", question(history, temperature=0))
        while talk.hear()["message"]["type"] != "fragment":
            pass
        state = services.runtime.state("toy")
        assert state is not None
        assert state.running == 1
        cancelled = state.totals.cancelled
    until(lambda: (now := services.runtime.state("toy")) is not None and now.running == 0)
    after = services.runtime.state("toy")
    assert after is not None
    assert after.totals.cancelled == cancelled + 1


def test_what_means_nothing_is_said_so_often_and_no_more(address: str) -> None:
    """A warning for each of ten thousand fields would be an answer as long as the question."""
    with talking(address) as talk:
        load(talk)
        *_, success, _ = talk.predict("Hi", **SHORT, **{f"odd{n}": n for n in range(10_000)})
        assert len(success["warnings"]) == MOST


def test_the_success_says_everything(address: str) -> None:
    with talking(address) as talk:
        info = load(talk)
        *messages, success, close = talk.predict("Hi", **SHORT, logProbs={"checked": True, "value": 2}, odd=1)
        assert close["type"] == "channelClose"
        assert messages[0]["type"] == "promptProcessingProgress"
        details = messages[0]["details"]
        assert details["totalPromptTokenCount"] == success["stats"]["promptTokensCount"]
        assert success["modelInfo"]["instanceReference"] == info["instanceReference"]
        assert {"key": "llm.load.contextLength", "value": 4096} in success["loadModelConfig"]["fields"]
        assert {"key": "llm.prediction.temperature", "value": 0} in success["predictionConfig"]["fields"]
        assert success["warnings"] == ["llm.prediction.odd means nothing here and was left out."]
        tokens = [one for m in messages if m["type"] == "fragment" for one in m["fragment"]["tokens"]]
        assert len(tokens) == success["stats"]["predictedTokensCount"] == 30
        assert all(one["logProb"] <= 0 and len(one["candidates"]) == 2 for one in tokens)
        assert all(one["logProb"] == one["candidates"][0]["logProb"] for one in tokens), "greedy"


def test_the_seed_decides(address: str) -> None:
    with talking(address) as talk:
        load(talk)
        settings = {"temperature": 1, "maxPredictedTokens": {"checked": True, "value": 30}}
        one, same, other = (
            text_of(talk.predict("Hi", **settings, seed={"checked": True, "value": seed})) for seed in (1, 1, 2)
        )
        assert one == same != other


@pytest.mark.parametrize("opened", [True, False])
def test_thinking_has_fragments_of_its_own(address: str, opened: bool) -> None:
    """The tags as well, so that all of them together are what the model wrote. `opened`: by the prompt."""
    thought, answer = "think so", "kind"  # with letters of the tags
    written = f"{thought}</think>\n\n{answer}" if opened else f"<think>\n{thought}</think>\n\n{answer}"
    with talking(address) as talk:
        load(talk)
        said = talk.predict("Hi", structured=spelt(written), **{"reasoning.enableThinking": opened}, temperature=0)
        assert text_of(said, "reasoning") == thought
        assert text_of(said, "none") == answer
        assert text_of(said) == written
        structural = [m["fragment"] for m in said if m.get("type") == "fragment" and m["fragment"]["isStructural"]]
        assert {one["reasoningType"] for one in structural} == (
            {"reasoningEndTag"} if opened else {"reasoningStartTag", "reasoningEndTag"}
        )
        stats = said[-2]["stats"]
        drafted = [m["fragment"] for m in said if m.get("type") == "fragment" and m["fragment"]["containsDrafted"]]
        assert 0 <= stats["acceptedDraftTokensCount"] - sum(one["tokensCount"] for one in drafted) <= 1, "the end token"
        plain = talk.predict("Hi", structured=spelt(written), **{"reasoning.parsing": {"enabled": False}})
        assert text_of(plain, "none") == written


def test_a_request_brings_its_template(address: str) -> None:
    jinja = {
        "type": "jinja",
        "jinjaPromptTemplate": {"template": "{% for m in messages %}*{{ m.content }}{% endfor %}"},
    }
    manual = {
        "type": "manual",
        "manualPromptTemplate": {"beforeUser": 'U"', "afterUser": "\n", "beforeAssistant": "A: "},
        "stopStrings": ["U"],
    }
    history = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    with talking(address) as talk:
        load(talk)
        for template, prompt in ((jinja, "*Hi"), (manual, 'U"Hi\nA: ')):
            asked = question(history, promptTemplate=template)
            asked = {"specifier": TOY, "opts": {}, **{key: asked[key] for key in ("history", "predictionConfigStack")}}
            assert talk.call("applyPromptTemplate", asked)["result"] == {"formatted": prompt}
        assert talk.predict("Hi", promptTemplate=jinja, **SHORT)[-1]["type"] == "channelClose"


def test_a_long_conversation_loses_its_beginning_aloud(address: str) -> None:
    turns = [{"role": role, "content": [{"type": "text", "text": "a cat " * 20}]} for role in ("user", "assistant") * 5]
    history = {"messages": [*turns, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    with talking(address) as talk:
        load(talk, "toy-small")
        small = {"type": "query", "query": {"identifier": "toy-small"}}
        said = talk.messages("predict", question(history, small, **SHORT))
        assert "oldest messages were left out" in said[-2]["warnings"][0]
        refused = talk.messages("predict", question(history, small, contextOverflowPolicy="stopAtLimit"))
        assert "context of 128 tokens" in refused[-1]["error"]["title"]


def test_presets_are_the_apps(address: str) -> None:
    with talking(address) as talk:
        load(talk)
        history = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
        said = talk.messages("predict", {**question(history), "fuzzyPresetIdentifier": "mine"})
        assert said[-1]["error"]["displayData"]["code"] == "generic.presetNotFound"


# ---- models ----


def test_specifiers(address: str) -> None:
    with talking(address) as talk:
        reference = load(talk)["instanceReference"]
        for query in ({}, {"identifier": "TOY"}, {"path": "toy"}, {"domain": "llm"}, {"vision": False}):
            info = talk.call("getModelInfo", {"specifier": {"type": "query", "query": query}, "throwIfNotFound": True})
            assert info["result"]["identifier"] == "toy", query
        by_load = {"type": "instanceReference", "instanceReference": reference}
        assert talk.call("getLoadConfig", {"specifier": by_load})["result"]["fields"]
        assert talk.call("getBasePredictionConfig", {"specifier": by_load})["result"] == {"fields": []}
        asked = {"specifier": by_load, "throwIfNotFound": True}
        assert talk.call("getInstanceProcessingState", asked)["result"] == {"status": "idle", "queued": 0}
        for query in ({"vision": True}, {"domain": "embedding"}, {"identifier": "nobody"}):
            error = talk.call("getModelInfo", {"specifier": {"type": "query", "query": query}, "throwIfNotFound": True})
            assert error["error"]["displayData"]["code"] == "generic.noModelMatchingQuery"
        talk.call("unloadModel", {"identifier": "toy"})
        load(talk)
        error = talk.call("getLoadConfig", {"specifier": by_load})["error"]
        assert error["displayData"] == {"code": "generic.specificModelUnloaded"}
        talk.call("unloadModel", {"identifier": "toy"})
        talk.call("unloadModel", {"identifier": "toy-small"})
        assert talk.call("listLoaded")["result"] == []
        error = talk.call("countTokens", {"specifier": TOY, "inputString": "a"})["error"]
        assert error["displayData"]["totalLoadedModels"] == 0
        counted = talk.call("countTokens", {"specifier": ANY, "inputString": "a"})
        assert counted["result"] == {"tokenCount": 1}, "the default model is loaded for who asks for any"


def test_load_settings_reach_the_loader(address: str, services: Services) -> None:
    fields = [
        {"key": "llm.load.contextLength", "value": 256},
        {"key": "llm.load.llama.speculativeDecoding.draftSimple", "value": True},
        {"key": "llm.load.llama.speculativeDecoding.draftModel", "value": "bad-draft"},
        {"key": "llm.load.mlx.autoFit", "value": True},
    ]
    stack = {"layers": [{"layerName": "apiOverride", "config": {"fields": fields}}]}
    with talking(address) as talk:
        asked = {"modelKey": "toy", "identifier": "tuned", "loadConfigStack": stack, "ttlMs": 5000}
        *_, success, _close = talk.messages("loadModel", asked)
        assert (success["info"]["contextLength"], success["info"]["ttlMs"]) == (256, 5000)
        state = services.runtime.state("tuned")
        assert state is not None
        assert services.name_of(state.draft_info) == "bad-draft"
        assert any("llm.load.mlx.autoFit" in entry.message for entry in services.event_log.recent())
        stack["layers"][0]["config"]["fields"] = [{"key": "llm.load.contextLength", "value": 1}]
        refused = talk.messages("loadModel", {"modelKey": "toy", "loadConfigStack": stack})
        assert "context" in refused[-1]["error"]["title"]
        talk.call("unloadModel", {"identifier": "tuned"})


def test_a_slow_load_is_never_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "PULSE_S", 0.02)
    go = threading.Event()

    def loader(spec: Any, progress: Any) -> Any:
        progress("main", 0.5)
        go.wait()
        return toy.load(spec, progress)

    with toy.serving(Services(toy.Runtime(loader), toy.ToyShelf())) as address, talking(address) as talk:
        try:
            number = talk.open("getOrLoad", {"identifier": "toy", "loadConfigStack": {"layers": []}})
            shown = [talk.hear()["message"] for _ in range(5)]
            assert shown[0]["type"] == "startLoading"
            assert [one["progress"] for one in shown[2:]] == [0.4] * 3, "the main model is most of a pair"
            talk.send(type="channelSend", channelId=number, message={"type": "cancel"})
            while (frame := talk.hear())["type"] == "channelSend":
                pass
            assert "cancelled" in frame["error"]["title"]
        finally:
            go.set()


def test_variants_and_notices(address: str, services: Services) -> None:
    with talking(address, "/system") as talk:
        (variant,) = talk.call("listDownloadedModelVariants", {"modelKey": "TOY"})["result"]
        assert (variant["modelKey"], variant["deviceIdentifier"]) == ("toy", None)
        assert "result" not in talk.call("notify", {"title": "Hello", "description": "you"})
        assert any("Hello you" in entry.message for entry in services.event_log.recent())
        assert talk.call("info")["result"]["isDaemon"] is True
        assert "error" in talk.call("requestShutdown")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("あ", "not Base64"),
        ("!!", "not Base64"),
        ("", "nothing in this file"),
        ("iVBORw0KGgo=", "Images"),
        ("AAEC", "no text"),
    ],
)
def test_what_is_no_text_is_not_uploaded(address: str, content: str, why: str) -> None:
    with talking(address, "/files") as talk:
        assert why in talk.call("uploadFileBase64", {"name": "file", "contentBase64": content})["error"]["title"]
        big = "A" * ((4 << 20) * 4 // 3 + 8)
        assert "4,194,304" in talk.call("uploadFileBase64", {"name": "file", "contentBase64": big})["error"]["title"]


def test_a_download_that_is_cancelled_at_once_ends(services: Services, address: str) -> None:
    go = threading.Event()
    services.downloads = Downloads(lambda name, quantisation, report: go.wait())
    try:
        with talking(address, "/repository") as talk:
            for _ in range(20):
                number = talk.open("downloadModel", {"downloadIdentifier": "a/b"})
                talk.send(type="channelSend", channelId=number, message={"type": "cancel"})
                while (frame := talk.hear())["type"] == "channelSend":
                    pass
                assert frame["error"]["title"] == "The download was cancelled."
    finally:
        go.set()
