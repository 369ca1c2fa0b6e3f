"""`LLM.load("owner/name:quant")`: models of the hub, served on loopback, with the real client library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from foredraft import LLM, LoadSettings
from foredraft.core.errors import DownloadError, ModelNotFoundError, UnsupportedModelError
from foredraft.demo import draft_path, main_path
from foredraft.models import hub as hub_module
from tests import tiny_gguf
from tests.models.hub_server import Hub, serve

QUICK = LoadSettings(controller="fixed", fixed_look_ahead=2, probe=False, remember=False)
MAIN, DRAFT, OTHER = "acme/Demo-GGUF", "acme/Demo-Draft-GGUF", "acme/Embeds-GGUF"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub with the embedded pair, each in its repository, and a model that only embeds."""
    main = main_path().read_bytes()
    made = Hub(
        {
            MAIN: {"Demo-Q8_0.gguf": main, "Demo-F16.gguf": main + b"\0" * 64},
            DRAFT: {"Demo-Draft-Q8_0.gguf": draft_path().read_bytes()},
            OTHER: {"Embeds-F32.gguf": tiny_gguf.llama_that_embeds(tmp_path / "embeds.gguf").read_bytes()},
        }
    )
    server = serve(made)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 0)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    yield made
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("mark", [":", "@"])
def test_a_repository_is_downloaded_once_with_its_draft_and_tells_how_far(hub: Hub, mark: str) -> None:
    told: list[tuple[str, float]] = []
    with LLM.load(
        f"{MAIN}{mark}q8_0",
        f"{DRAFT}{mark}Q8_0",
        settings=QUICK,
        progress=lambda what, share: told.append((what, share)),
    ) as llm:
        assert llm.chat("What is 2 + 3?", temperature=0).text == "2 + 3 = 5"
        assert Path(llm.info.path).name == "Demo-Q8_0.gguf"
        assert llm.draft_info is not None
        assert Path(llm.draft_info.path).name == "Demo-Draft-Q8_0.gguf"
    downloads = [share for what, share in told if what == "download"]
    assert downloads.count(1.0) >= 2
    assert all(0 <= share <= 1 for share in downloads)
    assert [what for what, _ in told].index("download") < [what for what, _ in told].index("main")
    asked = len(hub.requests)
    with LLM.load(f"{MAIN}{mark}Q8_0", DRAFT, settings=QUICK) as again:
        assert again.draft_info is not None
    assert len(hub.requests) == asked, "what is on the shelf is not asked for again"


def test_without_a_quantisation_the_usual_one_is_taken(hub: Hub) -> None:
    with LLM.load(f"hf.co/{MAIN}", None, settings=QUICK) as llm:
        assert Path(llm.info.path).name == "Demo-Q8_0.gguf"
    assert len(hub.downloads()) == 1


def test_a_name_of_the_shelf_wins(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models" / "acme" / "Demo-GGUF"
    folder.mkdir(parents=True)
    (folder / "Demo-Q8_0.gguf").write_bytes(main_path().read_bytes())
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(tmp_path / "models"))
    with LLM.load(f"{MAIN}:Q8_0", None, settings=QUICK) as llm:
        assert Path(llm.info.path) == folder / "Demo-Q8_0.gguf"
    assert hub.requests == []


@pytest.mark.parametrize(
    ("wish", "reason"),
    [(f"{MAIN}:Q2_K", "choice"), ("acme/Nothing-GGUF:Q8_0", "not_found"), ("acme/gated:Q8_0", "gated")],
)
def test_what_the_hub_refuses_is_the_error_of_get(hub: Hub, wish: str, reason: str) -> None:
    hub.files["acme/gated"] = {"Gated-Q8_0.gguf": b"x" * 100}
    hub.gated.add("acme/gated")
    with pytest.raises(DownloadError) as raised:
        LLM.load(wish, None)
    assert raised.value.reason == reason
    if reason == "choice":
        assert "Q8_0" in raised.value.hint
    with pytest.raises(DownloadError):
        LLM.load(None, wish)


def test_a_model_of_another_kind_is_refused_by_name(hub: Hub) -> None:
    with pytest.raises(UnsupportedModelError, match=r"foredraft\.Embedder"):
        LLM.load(OTHER, None)


def test_nothing_is_downloaded_where_that_is_not_wanted(hub: Hub) -> None:
    with pytest.raises(ModelNotFoundError, match=f"foredraft get {MAIN}:Q8_0"):
        LLM.load(f"{MAIN}:Q8_0", None, download=False)
    with LLM.load(None, DRAFT, settings=QUICK, download=False) as llm:
        assert llm.speculation.status == "unavailable"
    with pytest.raises(ModelNotFoundError):
        LLM.load("acme/name.gguf", None)
    assert hub.requests == []


@pytest.mark.parametrize("way", ["no network", "forbidden"])
def test_without_a_network_it_says_so(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    if way == "forbidden":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE" if way == "forbidden" else "network") as raised:
        LLM.load(f"{MAIN}:Q8_0", None)
    assert raised.value.reason == "no_network"
