"""LM Studio's SDK for Python on real files: the embedded pair, a hub on the loopback, and a trained model that calls
tools."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import lmstudio
import pytest

from foredraft.config.settings import Settings
from foredraft.models import hub as hub_module
from foredraft.models.places import EMBEDDED, FOLDER, OWN, Place
from foredraft.models.store import ModelStore
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.managed_model import LoadedModel, Loader, LoadSpec, Progress
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.server.downloads import Downloads, from_hub
from foredraft.server.loading import load_pair
from foredraft.server.shelf import StoreShelf
from tests.models.hub_server import Hub, serve
from tests.real.files import path_of, present
from tests.server import toy
from tests.server.sdk_talk import talking, text_of

MULTIPLY = r"""
root ::= "<tool_call>\n{\"name\": \"multiply\", \"arguments\": {\"a\": " number ", \"b\": " number "}}\n</tool_call>"
number ::= [1-9] [0-9]*
"""
PROMPTS = ("What is 2 + 3?", "Count from 1 to 12.", "Say the days of the week.")


def exactly(spec: LoadSpec, progress: Progress) -> LoadedModel | Embedder:
    """Load so that texts are equal to the last bit, whatever that costs here."""
    return load_pair(dataclasses.replace(spec, settings={**spec.settings, "numerics": "exact"}), progress)


def at_once(spec: LoadSpec, progress: Progress) -> LoadedModel | Embedder:
    """Load without measuring how it rounds."""
    quick = {"numerics": "fast", "probe": False, "context": 2048, "slots": 1}
    return load_pair(dataclasses.replace(spec, draft=None, settings={**spec.settings, **quick}), progress)


def services(*places: Place, loader: Loader = exactly) -> Services:
    store = ModelStore(list(places))
    shelf = StoreShelf(store, Settings(), slots=2)
    runtime = Runtime(loader)
    return Services(runtime, shelf, default_model=shelf.embedded(), store=store, downloads=Downloads(from_hub(store)))


@pytest.fixture(scope="module")
def pair(chat_pair: tuple[Path, Path]) -> Iterator[tuple[str, Services]]:
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")
    of = services(Place(main.parent, EMBEDDED))
    with toy.serving(of) as address:
        yield address, of


def test_the_embedded_pair_says_the_same_with_and_without_its_draft(pair: tuple[str, Services]) -> None:
    address, of = pair
    with lmstudio.Client(address.removeprefix("http://")) as client:
        model = client.llm.model(of.default_model)
        for prompt in PROMPTS:
            settings = {"maxTokens": 40, "temperature": 0}
            plain = model.respond(prompt, config={**settings, "draftModel": ""})
            stream = model.respond_stream(prompt, config=settings)
            fragments = list(stream)
            drafted = stream.result()
            assert drafted.content == plain.content == "".join(one.content for one in fragments) != ""
            accepted = sum(one.tokens_count for one in fragments if one.contains_drafted)
            assert 0 <= (drafted.stats.accepted_draft_tokens_count or 0) - accepted <= 1, "an end token has no text"
    with talking(address) as talk:  # the library for Python has no seed
        specifier = {"type": "query", "query": {"identifier": of.default_model}}
        sampled = {
            "temperature": 1,
            "seed": {"checked": True, "value": 5},
            "maxPredictedTokens": {"checked": True, "value": 40},
        }
        said = {
            text_of(
                talk.predict(PROMPTS[0], specifier=specifier, **sampled, **{"speculativeDecoding.draftModel": draft})
            )
            for draft in ("auto", "")
        }
    assert len(said) == 1
    assert said != {""}


def test_a_real_file_is_described(pair: tuple[str, Services]) -> None:
    address, of = pair
    with lmstudio.Client(address.removeprefix("http://")) as client:
        listed = {one.model_key: one for one in client.llm.list_downloaded()}
        info = listed[of.default_model].info
        assert info.size_bytes > 1000
        assert info.path.endswith(".gguf")
        assert info.max_context_length > 0
        with talking(address) as talk:  # who asks for any gets the default model
            info = talk.call("getModelInfo", {"specifier": {"type": "query", "query": {}}, "throwIfNotFound": True})
            assert info["result"]["identifier"] == of.default_model
        model = client.llm.model()
        prompt = model.apply_prompt_template("Hello!")
        assert "Hello!" in prompt
        assert 0 < model.count_tokens(prompt) < len(prompt)
    with talking(address) as talk:
        asked = {"modelKey": of.default_model, "loadConfigStack": {"layers": []}}
        memory = talk.call("estimateModelUsage", asked)["result"]["memory"]
        assert memory["totalBytes"] == memory["modelBytes"] + memory["contextBytes"] > 1000


def test_models_come_from_the_hub(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tiny_llama.read_bytes()
    hub = Hub({"owner/Tiny-GGUF": {"Tiny-Q8_0.gguf": content, "Tiny-F16.gguf": content + b"\0"}})
    server = serve(hub)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 0)
    try:
        with (
            toy.serving(services(Place(tmp_path, OWN))) as address,
            lmstudio.Client(address.removeprefix("http://")) as client,
        ):
            (found,) = client.repository.search_models("tiny")
            offered = {one.info.quantization: one for one in found.get_download_options()}
            assert set(offered) == {"Q8_0", "F16"}
            assert offered["Q8_0"].info.recommended
            seen: list[int] = []
            finalized: list[bool] = []
            name = offered["Q8_0"].download(
                on_progress=lambda update: seen.append(update.downloaded_bytes),
                on_finalize=lambda: finalized.append(True),
            )
            assert seen[-1] == len(content)
            assert finalized == [True]
            assert [one.model_key for one in client.llm.list_downloaded()] == [name]
            with talking(address, "/repository") as talk:
                wish = {"modelSearchResultIdentifier": {"type": "hf", "identifier": "nobody/nothing"}}
                assert "nobody/nothing" in talk.call("getModelDownloadOptions", wish)["error"]["title"]
    finally:
        server.shutdown()
        server.server_close()


def test_a_download_can_be_cancelled(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub({"owner/Tiny-GGUF": {"Tiny-Q8_0.gguf": tiny_llama.read_bytes()}}, hold=threading.Event())
    server = serve(hub)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    try:
        with (
            toy.serving(services(Place(tmp_path, OWN))) as address,
            talking(address, "/repository") as talk,
        ):
            number = talk.open("downloadModel", {"downloadIdentifier": "owner/Tiny-GGUF@Q8_0"})
            hub.sending.wait(60)
            talk.send(type="channelSend", channelId=number, message={"type": "cancel"})
            while (frame := talk.hear())["type"] == "channelSend":
                pass
            assert frame["error"]["title"] == "The download was cancelled."
            hub.hold.set()  # type: ignore[union-attr]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.real
def test_a_trained_model_calls_tools() -> None:
    if not present("qwen-0.5b"):
        pytest.skip("python -m tests.real.files qwen-0.5b")
    path = path_of("qwen-0.5b")
    asked: list[tuple[int, int]] = []

    def multiply(a: int, b: int) -> int:
        """Multiplies two numbers."""
        asked.append((a, b))
        return a * b

    of = services(Place(path.parent, FOLDER), loader=at_once)
    with toy.serving(of) as address, lmstudio.Client(address.removeprefix("http://")) as client:
        model = client.llm.model("qwen2.5-coder-0.5b-instruct@q4_k_m")
        # it would write its calls as code for people to read; the grammar holds it to the form of its own template
        settings = {"temperature": 0, "maxTokens": 60, "structured": {"type": "gbnf", "gbnfGrammar": MULTIPLY}}
        said: list[object] = []
        done = model.act(
            "What is 12 times 345?", [multiply], config=settings, max_prediction_rounds=2, on_message=said.append
        )
    assert asked == [(12, 345)]
    assert done.rounds == 2
    assert len(said) == 3, "the call, what came of it, the answer"
