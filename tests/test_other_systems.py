"""What other systems do differently, imitated: files that are held, cores of two kinds, containers, exclusive ports,
pages that are opened outside."""

from __future__ import annotations

import platform
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from foredraft.bench.modes import clocks
from foredraft.core import files
from foredraft.core.errors import FileInUseError, ForedraftError
from foredraft.engines import control_groups, processor
from foredraft.pair import speculation
from foredraft.server.address import listen
from foredraft.ui import browser

# ---- files that a program has open ----


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As on Windows: so many tries find a file held, in the system's own numbers."""
    monkeypatch.setattr(files, "WINDOWS", True)
    left = {"tries": 0, "number": 32}

    def refusing(real: Any) -> Any:
        def refuse(*args: Any, **more: Any) -> Any:
            if left["tries"] > 0:
                left["tries"] -= 1
                error = PermissionError(13, "The process cannot access the file")
                error.winerror = left["number"]  # type: ignore[attr-defined]
                raise error
            return real(*args, **more)

        return refuse

    monkeypatch.setattr(Path, "replace", refusing(Path.replace))
    monkeypatch.setattr(Path, "unlink", refusing(Path.unlink))
    return left


@pytest.mark.parametrize("number", [5, 32, 33, 1224])
def test_who_looks_at_a_file_for_a_moment_is_waited_for(held: Any, tmp_path: Path, number: int) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new", encoding="utf-8")
    old.write_text("old", encoding="utf-8")
    held.update(tries=3, number=number)
    files.replace(new, old)
    assert old.read_text(encoding="utf-8") == "new"
    held["tries"] = 3
    files.remove(old)
    assert not old.exists()


def test_a_file_that_stays_held_is_an_error_with_a_way_out(
    held: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE_S", 0.1)
    held["tries"] = 10**9
    with pytest.raises(FileInUseError, match=r"cannot be deleted: a program has it open.*foredraft unload") as told:
        files.remove(tmp_path / "model.gguf")
    assert isinstance(told.value, OSError)  # who expects that of a file gets it
    assert isinstance(told.value, ForedraftError)
    assert (told.value.code, told.value.path) == ("file_in_use", str(tmp_path / "model.gguf"))


def test_what_is_a_matter_of_rights_is_not_tried_again(held: Any, tmp_path: Path) -> None:
    held.update(tries=1, number=19)  # write-protected
    with pytest.raises(PermissionError) as told:
        files.remove(tmp_path / "a")
    assert not isinstance(told.value, FileInUseError)
    assert held["tries"] == 0


# ---- processors ----


def _tree(root: Path, given: Mapping[str, str]) -> Path:
    for name, text in given.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="ascii")
    return root


def test_of_intel_hybrids_the_performance_cores_count_each_once(tmp_path: Path) -> None:
    """Four with two threads each, and eight small ones."""
    cpus = {f"system/cpu/cpu{n}/topology/thread_siblings_list": f"{n - n % 2}-{n - n % 2 + 1}" for n in range(8)}
    cpus |= {f"system/cpu/cpu{n}/topology/thread_siblings_list": f"{n}" for n in range(8, 16)}
    system = _tree(tmp_path, {"cpu_core/cpus": "0-7", "cpu_atom/cpus": "8-15", **cpus})
    assert processor.of_linux(system, range(16)) == 4
    assert processor.of_linux(system, [0, 1, 2, 9]) == 2  # bound to some of them (taskset)
    assert processor.of_linux(system, [8, 9]) == 0  # all of one kind: as elsewhere


@pytest.mark.parametrize(
    ("capacities", "fast"),
    [([1024] * 4, 0), ([446] * 4 + [1024] * 4, 4), ([300] * 4 + [800] * 3 + [1024], 4), ([], 0)],
)
def test_of_arm_the_small_cores_do_not_count(tmp_path: Path, capacities: list[int], fast: int) -> None:
    system = _tree(tmp_path, {f"system/cpu/cpu{n}/cpu_capacity": str(size) for n, size in enumerate(capacities)})
    assert processor.of_linux(system, range(len(capacities))) == fast


def test_of_windows_the_most_capable_cores_count() -> None:
    def core(efficiency: int) -> bytes:
        return struct.pack("<IIBB20xH", 0, 48, 1, efficiency, 1).ljust(48, b"\0")

    cache = struct.pack("<II", 2, 56).ljust(56, b"\0")
    assert processor.most_capable(core(1) * 6 + cache + core(0) * 8) == 6
    assert processor.most_capable(core(0) * 8 + cache) == 0
    assert processor.most_capable(b"") == 0


def test_there_is_a_number_of_cores_on_this_machine() -> None:
    assert processor.cores() >= 1
    assert processor.name()


def test_costs_are_a_matter_of_the_processor_not_of_the_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = speculation.machine()
    monkeypatch.setattr(platform, "node", lambda: "another-network.local")
    assert speculation.machine() == before
    monkeypatch.setattr(processor, "name", lambda: "Another processor")
    assert speculation.machine() != before


# ---- containers ----


def test_the_second_versions_groups_are_looked_at_up_to_the_root(tmp_path: Path) -> None:
    own = _tree(tmp_path, {"own": "0::/user.slice/app.slice/one.scope"}) / "own"
    mounted = _tree(
        tmp_path / "mounted",
        {
            "user.slice/app.slice/one.scope/memory.max": "max",
            "user.slice/app.slice/memory.max": "1000000",
            "user.slice/app.slice/memory.current": "700000",
            "user.slice/app.slice/memory.stat": "anon 1\ninactive_file 50000\nactive_file 3",
            "user.slice/cpu.max": "150000 100000",
            "user.slice/app.slice/cpu.max": "max 100000",
        },
    )
    assert control_groups.memory(mounted, own) == 350_000
    assert control_groups.processors(mounted, own) == 1.5


@pytest.mark.parametrize("inside", [True, False], ids=["in a container", "outside"])
def test_the_first_versions_groups_have_a_tree_each(tmp_path: Path, inside: bool) -> None:
    """In a container the path is the one outside, and its own group stands at the root."""
    own = _tree(tmp_path, {"own": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/"}) / "own"
    at = "" if inside else "docker/abc/"
    mounted = _tree(
        tmp_path / "mounted",
        {
            f"memory/{at}memory.limit_in_bytes": "2000",
            f"memory/{at}memory.usage_in_bytes": "1500",
            f"memory/{at}memory.stat": "cache 9\ntotal_inactive_file 100",
            f"cpu,cpuacct/{at}cpu.cfs_quota_us": "200000",
            f"cpu,cpuacct/{at}cpu.cfs_period_us": "100000",
        },
    )
    if not inside:
        _tree(mounted, {"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "5"})
        _tree(mounted, {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"})
    assert control_groups.memory(mounted, own) == 600
    assert control_groups.processors(mounted, own) == 2


def test_without_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert control_groups.memory(tmp_path / "none", tmp_path / "none") is None
    assert control_groups.processors(tmp_path / "none", tmp_path / "none") is None


def test_a_quota_bounds_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_groups, "processors", lambda: 0.5)
    assert processor.cores() == 1


# ---- the rest ----


def test_where_a_port_can_be_taken_from_its_owner_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows SO_REUSEADDR means that; another option stands in for the one that it has against it."""
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    listeners, _ = listen("127.0.0.1", 0)
    for one in listeners:
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        one.close()


def test_windows_has_no_clock_of_processor_time() -> None:
    assert set(clocks("win32")) == {"wall"}
    assert set(clocks("linux")) == set(clocks("darwin")) == {"wall", "cpu"}


@pytest.mark.skipif(sys.platform != "linux", reason="WSL is Linux")
def test_wsl_opens_pages_in_windows_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "wslview"
    program.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n', encoding="utf-8")
    program.chmod(0o755)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "WSL_DISTRO_NAME", "WSL_INTEROP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert not browser.has_screen()
    monkeypatch.setenv("WSL_DISTRO_NAME", "Debian")
    assert browser.has_screen()
    browser.show("http://localhost:3673/?a=b&c")
    assert (tmp_path / "opened").read_text(encoding="utf-8") == "http://localhost:3673/?a=b&c\n"
