"""Downloads, with the real client library, from a hub on loopback that misbehaves on request."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from foredraft.core.errors import DownloadError
from foredraft.models import hub as hub_module
from foredraft.models.hub import (
    HubFound,
    HubRepository,
    choose,
    download,
    family,
    look,
    parse_wish,
    recommended_repositories,
    search,
)
from tests.models.hub_server import Hub, serve

REPOSITORY = "owner/Test-GGUF"
CONTENT = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub with one repository; the client waits no time between tries."""
    files = {
        "Test-Q4_K_M.gguf": CONTENT,
        "Test-Q8_0.gguf": CONTENT * 2,
        "mmproj-Test-f16.gguf": b"image part",
        "sub/Test-F16-00001-of-00002.gguf": b"first",
        "sub/Test-F16-00002-of-00002.gguf": b"second",
        "README.md": b"hello",
    }
    made = Hub({REPOSITORY: files, "owner/Nothing": {"model.safetensors": b"x"}})
    server = serve(made)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 0)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    yield made
    server.shutdown()
    server.server_close()


def get(own: Path, quantisation: str = "q4_k_m", **more: object) -> Path:
    repository = look(REPOSITORY)
    return download(repository, choose(repository, quantisation), own, **more)  # type: ignore[arg-type]


def refused(reason: str, own: Path, **more: object) -> DownloadError:
    with pytest.raises(DownloadError) as raised:
        get(own, **more)  # type: ignore[arg-type]
    assert raised.value.reason == reason
    return raised.value


def partial(own: Path) -> Path:
    (found,) = own.rglob("*.partial")
    return found


def test_what_a_repository_offers(hub: Hub) -> None:
    repository = look(REPOSITORY)
    assert [(choice.quantisation, choice.size) for choice in repository.choices] == [
        ("F16", 11),
        ("Q4_K_M", len(CONTENT)),
        ("Q8_0", 2 * len(CONTENT)),
    ]
    assert [file.path for file in repository.choices[0].files] == [
        "sub/Test-F16-00001-of-00002.gguf",
        "sub/Test-F16-00002-of-00002.gguf",
    ]


def test_a_search_finds_repositories_with_gguf_files_by_their_words(hub: Hub) -> None:
    hub.files |= {
        "a/Qwen2.5-0.5B-Instruct-GGUF": {"q-Q8_0.gguf": b"x"},
        "b/Qwen2.5-14B-Instruct-GGUF": {"q-Q4_K_M.gguf": b"x"},
        "c/Qwen2.5-14B-Instruct": {"model.safetensors": b"x"},
        "d/Qwen3-8B-GGUF": {"q.gguf": b"x"},
    }
    hub.downloads_of = {"a/Qwen2.5-0.5B-Instruct-GGUF": 7, "b/Qwen2.5-14B-Instruct-GGUF": 90}
    hub.params_of = {"b/Qwen2.5-14B-Instruct-GGUF": 14_770_033_664}
    hub.gated = {"a/Qwen2.5-0.5B-Instruct-GGUF"}
    assert search("  qwen2.5   instruct ") == [
        HubFound("b/Qwen2.5-14B-Instruct-GGUF", 90, 14_770_033_664, False),
        HubFound("a/Qwen2.5-0.5B-Instruct-GGUF", 7, 0, True),
    ]
    assert [found.name for found in search("qwen", limit=1)] == ["b/Qwen2.5-14B-Instruct-GGUF"]
    assert search("nothing like it") == []
    hub.fail_with = 503
    with pytest.raises(DownloadError) as raised:
        search("qwen")
    assert raised.value.reason == "no_network"


def test_a_search_without_a_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(DownloadError) as raised:
        search("qwen")
    assert raised.value.reason == "no_network"


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        ("bartowski/Qwen2.5-14B-Instruct-GGUF", "Qwen2.5"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct-GGUF", "Qwen2.5 Coder"),
        ("x/Llama-3.2-1B-Instruct-Q8_0-GGUF", "Llama 3.2"),
        ("x/gemma-3-270m-it-GGUF", "gemma 3"),
        ("x/Phi-4-GGUF", "Phi 4"),
    ],
)
def test_the_family_of_a_repository(repository: str, words: str) -> None:
    assert family(repository) == words


def test_a_download_lands_whole_with_its_progress(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = get(tmp_path, progress=lambda *now: seen.append(now))
    assert path == tmp_path / "owner" / "Test-GGUF" / "Test-Q4_K_M.gguf"
    assert path.read_bytes() == CONTENT
    assert seen[0] == ("Test-Q4_K_M.gguf", 0, len(CONTENT))
    assert seen[-1] == ("Test-Q4_K_M.gguf", len(CONTENT), len(CONTENT))
    assert [now for _, now, _ in seen] == sorted(now for _, now, _ in seen)
    assert not list(tmp_path.rglob("*.partial"))


def test_all_parts_of_a_split_file_come(hub: Hub, tmp_path: Path) -> None:
    path = get(tmp_path, "f16")
    assert path.read_bytes() == b"first"
    assert path.with_name("Test-F16-00002-of-00002.gguf").read_bytes() == b"second"


def test_what_is_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    get(tmp_path)
    hub.requests.clear()
    get(tmp_path)
    assert hub.downloads() == []


def test_a_cut_connection_goes_on_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = [600_000, 700_000]
    assert get(tmp_path).read_bytes() == CONTENT
    starts = [int(span.removeprefix("bytes=").rstrip("-")) for span in hub.downloads()]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] < starts[2]


def test_a_download_stopped_at_any_byte_is_taken_up_there(hub: Hub, tmp_path: Path) -> None:
    """As after a kill: the partial file is whatever had reached the disk."""
    get(tmp_path)
    whole = tmp_path / "owner" / "Test-GGUF" / "Test-Q4_K_M.gguf"
    file = look(REPOSITORY).choices[1].files[0]
    for length in (0, 1, 4096, len(CONTENT) - 1, len(CONTENT)):
        whole.unlink()
        hub_module._partial(whole, file).write_bytes(CONTENT[:length])
        hub.requests.clear()
        assert get(tmp_path).read_bytes() == CONTENT
        assert hub.downloads() == ([f"bytes={length}-"] if length < len(CONTENT) else [])


def test_a_partial_file_that_is_too_long_is_begun_anew(hub: Hub, tmp_path: Path) -> None:
    get(tmp_path)
    whole = tmp_path / "owner" / "Test-GGUF" / "Test-Q4_K_M.gguf"
    whole.unlink()
    hub_module._partial(whole, look(REPOSITORY).choices[1].files[0]).write_bytes(CONTENT + b"more")
    assert get(tmp_path).read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_is_understood(hub: Hub, tmp_path: Path) -> None:
    hub.ignore_ranges = True
    hub.cut_after = [600_000]
    assert get(tmp_path).read_bytes() == CONTENT


def test_a_connection_that_brings_nothing_is_given_up_and_what_came_is_kept(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = [600_000] + [0] * 50
    error = refused("no_network", tmp_path)
    assert "kept" in error.hint
    assert 0 < partial(tmp_path).stat().st_size < len(CONTENT)
    hub.cut_after = []
    assert get(tmp_path).read_bytes() == CONTENT


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client pauses between tries, without pausing."""
    made: list[float] = []
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 1.0)
    monkeypatch.setattr(hub_module.time, "sleep", made.append)
    return made


@pytest.mark.parametrize("there", [0, 600_000])
@pytest.mark.parametrize("without_length", [False, True])
def test_a_page_instead_of_the_file_is_given_up_after_some_tries(
    hub: Hub, tmp_path: Path, pauses: list[float], there: int, without_length: bool
) -> None:
    if there:
        hub.cut_after = [there] + [0] * 20
        refused("no_network", tmp_path)
        pauses.clear()
        hub.cut_after = []
    hub.requests.clear()
    hub.instead, hub.headers = b"<html>", {"Content-Type": "text/html"}
    hub.without_length = without_length
    error = refused("incomplete", tmp_path)
    assert "did not answer with the file" in error.message
    assert "login" in error.hint
    assert pauses == [1, 2, 4, 8, 16]
    assert len(hub.downloads()) == hub_module.RETRIES + 1
    if there:
        assert partial(tmp_path).stat().st_size == there, "what had arrived is not thrown away for a page"
    hub.instead, hub.headers, hub.without_length = None, {}, False
    assert get(tmp_path).read_bytes() == CONTENT


def test_a_host_that_calls_less_than_the_file_all_is_given_up(hub: Hub, tmp_path: Path, pauses: list[float]) -> None:
    hub.without_length = True
    hub.cut_after = [600_000] + [0] * 20
    error = refused("incomplete", tmp_path)
    assert "600,000 of the 2,097,152 bytes" in error.message
    assert len(hub.downloads()) == hub_module.RETRIES + 2
    assert partial(tmp_path).stat().st_size == 600_000


def test_a_host_that_starts_over_each_time_is_given_up(hub: Hub, tmp_path: Path) -> None:
    """It answers with the whole file, and never gets far."""
    hub.ignore_ranges = True
    hub.cut_after = [600_000] * 50
    refused("no_network", tmp_path)
    assert len(hub.downloads()) == hub_module.RETRIES + 2


def test_crumbs_do_not_count_as_progress(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = [10] * 500
    refused("no_network", tmp_path)
    assert len(hub.downloads()) == hub_module.RETRIES + 1


@pytest.mark.parametrize("without_length", [False, True])
def test_no_byte_more_than_promised_is_written(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_length: bool
) -> None:
    hub.more, hub.without_length = b"x" * 4_000_000, without_length
    largest = 0

    def told(name: str, there: int, size: int) -> None:
        nonlocal largest
        largest = max(largest, there, *(file.stat().st_size for file in tmp_path.rglob("*.partial")))

    refused("incomplete", tmp_path, progress=told)
    assert largest <= len(CONTENT)
    assert not [file for file in tmp_path.rglob("*.gguf") if file.read_bytes() != CONTENT]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Range": "bytes 5-2097151/2097152"},
        {"Content-Range": "bytes 0-2097151/9999999"},
        {"Content-Range": "nonsense"},
    ],
)
def test_what_was_not_asked_for_is_not_taken(hub: Hub, tmp_path: Path, headers: dict[str, str]) -> None:
    hub.headers = headers
    refused("incomplete", tmp_path)
    assert not any(file.stat().st_size for file in tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b"<html>", b"null", b'{"id": "x", "siblings": [{}]}', b"\xff"])
def test_what_is_no_hub_is_told(hub: Hub, answer: bytes) -> None:
    """A page of a network that wants a login, say."""
    hub.nonsense = answer
    with pytest.raises(DownloadError):
        look(REPOSITORY)
    if answer not in (b"[]", b"{}", b'{"id": "x", "siblings": [{}]}'):  # which a search may take for no results
        with pytest.raises(DownloadError):
            search("x")


def test_a_full_disk_is_told_and_what_arrived_is_kept(hub: Hub, tmp_path: Path) -> None:
    """In a process of its own: the limit on the size of files stands for the disk."""
    pytest.importorskip("resource")
    code = f"""
import resource, signal
from pathlib import Path
from foredraft.core.errors import ForedraftError
from foredraft.models.hub import choose, download, look
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
repository = look({REPOSITORY!r})
try:
    download(repository, choose(repository, "q4_k_m"), Path({str(tmp_path)!r}))
except (ForedraftError, OSError) as error:
    print(type(error).__name__, error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert ran.stdout.startswith(("DownloadError", "OSError")), ran.stderr
    assert partial(tmp_path).stat().st_size == 1 << 20
    assert get(tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.damaged = {"Test-Q4_K_M.gguf"}
    refused("checksum", tmp_path)
    assert not list(tmp_path.rglob("*.gguf"))
    assert not list(tmp_path.rglob("*.partial"))
    hub.damaged = set()
    assert get(tmp_path).read_bytes() == CONTENT


def test_an_older_half_is_not_mixed_with_a_newer_file(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = [600_000] + [0] * 50
    refused("no_network", tmp_path)
    newer = bytes(reversed(CONTENT))
    hub.files[REPOSITORY]["Test-Q4_K_M.gguf"] = newer
    hub.cut_after = []
    assert get(tmp_path).read_bytes() == newer


def test_gated_missing_and_empty_repositories_are_explained(hub: Hub, tmp_path: Path) -> None:
    hub.gated = {REPOSITORY}
    assert "terms" in refused("gated", tmp_path).message
    for name, reason in (("owner/Missing", "not_found"), ("owner/Nothing", "no_gguf"), ("not a name", "not_found")):
        with pytest.raises(DownloadError) as raised:
            look(name)
        assert raised.value.reason == reason


def test_a_broken_hub_and_no_hub_are_explained(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fail_with = 503
    with pytest.raises(DownloadError, match="503") as raised:
        look(REPOSITORY)
    assert raised.value.reason == "no_network"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens on the discard port
    with pytest.raises(DownloadError, match="connection") as raised:
        look(REPOSITORY)
    assert raised.value.reason == "no_network"


def test_the_token_is_sent_and_never_shown(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.gated = {REPOSITORY}
    error = refused("gated", tmp_path)
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in str(error) + error.hint


def test_another_host_that_sends_the_files_does_not_get_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    other = Hub(hub.files)
    server = serve(other)
    hub.redirect_to = other.url
    assert get(tmp_path).read_bytes() == CONTENT
    server.shutdown()
    server.server_close()
    assert hub.tokens == {"Bearer hf_secret"}
    assert len(other.downloads()) == 1
    assert other.tokens == set()


def test_too_little_room_is_said_before_anything_is_sent(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(CONTENT)))
    assert "free in" in refused("disk_full", tmp_path).message
    assert hub.downloads() == []


def test_a_disk_that_fills_up_keeps_what_arrived(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = hub_module._stream, []

    def full(location: str, headers: dict[str, str], target: Path, size: int, arrived: object) -> None:
        target.write_bytes(CONTENT[:5000])
        written.append(target)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub_module, "_stream", full)
    refused("disk_full", tmp_path)
    assert partial(tmp_path).stat().st_size == 5000
    monkeypatch.setattr(hub_module, "_stream", real)
    assert get(tmp_path).read_bytes() == CONTENT
    assert hub.downloads()[-1] == "bytes=5000-"


def test_two_threads_that_want_one_file_fetch_it_once(hub: Hub, tmp_path: Path) -> None:
    hub.hold = threading.Event()
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(get(tmp_path))) for _ in range(2)]
    threads[0].start()
    assert hub.sending.wait(20)
    threads[1].start()
    hub.hold.set()
    for thread in threads:
        thread.join(30)
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == CONTENT
    assert len(hub.downloads()) == 1


def _get_elsewhere(own: str, endpoint: str) -> None:
    os.environ["HF_ENDPOINT"] = endpoint
    get(Path(own))


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs processes that can be killed")
def test_a_killed_download_is_taken_up_by_another_process(hub: Hub, tmp_path: Path) -> None:
    hub.hold = threading.Event()  # never set while the first process lives: it waits in the middle
    process = multiprocessing.get_context("spawn").Process(target=_get_elsewhere, args=(str(tmp_path), hub.url))
    process.start()
    assert hub.sending.wait(60)
    process.kill()
    process.join(30)
    hub.hold.set()
    assert get(tmp_path).read_bytes() == CONTENT


# ---- choosing ----


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("owner/name", ("owner/name", "")),
        ("owner/name@q4_k_m", ("owner/name", "q4_k_m")),
        ("owner/name:Q4_K_M", ("owner/name", "Q4_K_M")),
        ("hf.co/owner/name:Q8_0", ("owner/name", "Q8_0")),
        ("https://huggingface.co/owner/name/tree/main", ("owner/name", "")),
        ("qwen2.5-14b-instruct", ("Qwen/Qwen2.5-14B-Instruct-GGUF", "")),
        ("Qwen2.5-14B@q8_0", ("Qwen/Qwen2.5-14B-Instruct-GGUF", "q8_0")),
    ],
)
def test_wishes(wish: str, expected: tuple[str, str]) -> None:
    assert parse_wish(wish) == expected


@pytest.mark.parametrize("wish", ["", "qwne3-8b", "a/b/c", "../../etc", "owner/na me"])
def test_wishes_that_name_nothing(wish: str) -> None:
    with pytest.raises(DownloadError) as raised:
        parse_wish(wish)
    assert raised.value.reason == "not_found"
    if wish.startswith("qwne"):
        assert "qwen3-8b" in raised.value.hint


def test_the_usual_choice_fits_in_memory_and_small_models_stay_fine(hub: Hub) -> None:
    repository = look(REPOSITORY)
    assert choose(repository).quantisation == "Q8_0"  # small
    big = HubRepository(
        "o/n",
        "main",
        tuple(
            hub_module.HubChoice(name, (hub_module.HubFile(name, size * 10**9, ""),))
            for name, size in (("Q2_K", 4), ("Q4_K_M", 8), ("Q8_0", 15), ("F16", 28))
        ),
    )
    assert choose(big).quantisation == "Q4_K_M"
    assert choose(big, room=6 * 10**9).quantisation == "Q4_K_M"  # nothing usual fits: the usual all the same
    assert choose(big, "q2_k").quantisation == "Q2_K"
    with pytest.raises(DownloadError, match="no Q3_K_S") as raised:
        choose(big, "q3_k_s")
    assert "Q2_K, Q4_K_M, Q8_0, F16" in raised.value.hint


def test_the_draft_of_a_repository() -> None:
    assert recommended_repositories("Qwen/Qwen2.5-14B-Instruct-GGUF")[0] == "Qwen/Qwen2.5-0.5B-Instruct-GGUF"
    assert recommended_repositories("someone/Meta-Llama-3.1-8B-Instruct-GGUF") == [
        "bartowski/Llama-3.2-1B-Instruct-GGUF"
    ]
    assert recommended_repositories("someone/Unknown-GGUF") == []


@pytest.mark.parametrize("name", ["../evil.gguf", "/etc/evil.gguf", "a/../../evil.gguf"])
def test_names_that_lead_elsewhere_are_passed_over(hub: Hub, name: str) -> None:
    hub.files[REPOSITORY][name] = b"x"
    assert all(name not in [file.path for file in choice.files] for choice in look(REPOSITORY).choices)
