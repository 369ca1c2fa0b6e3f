"""The machine's processor: its name, and how many of its cores should compute.

A pass ends when its slowest thread does, so the efficiency cores of a hybrid (Apple Silicon, Intel since the 12th
generation, most ARM) slow it down, and so does a second thread on the same core. llama.cpp's own programs count so too.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil

from foredraft.engines import control_groups

_SYSTEM = Path("/sys/devices")
_CORE_RECORD = 0
"""RelationProcessorCore of Windows' GetLogicalProcessorInformationEx."""


def cores() -> int:
    """Physical performance cores that this process may use: those of its affinity and, in a container, of its quota."""
    allowed = _allowed()
    fast = _performance_cores(allowed) or psutil.cpu_count(logical=False) or len(allowed)
    quota = control_groups.processors()
    return max(1, min(fast, len(allowed), math.ceil(quota) if quota else fast))


def name() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        return _sysctl_text("machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _allowed() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _performance_cores(allowed: frozenset[int]) -> int:
    """Of a hybrid; 0 where all cores are of one kind, or the system does not tell."""
    if sys.platform == "darwin":
        return _sysctl_number("hw.perflevel0.physicalcpu")
    if sys.platform == "win32":
        return most_capable(_windows_records())
    return of_linux(_SYSTEM, allowed)


def of_linux(system: Path, allowed: Iterable[int]) -> int:
    """Performance cores among the logical processors `allowed`, each counted once; 0 where there are no two kinds.
    `system` is /sys/devices."""
    mine = set(allowed)
    fast = mine & _named_fast(system)
    if not fast or fast == mine:
        return 0
    return len({_siblings(system, number) for number in fast})


def _named_fast(system: Path) -> set[int]:
    """Intel's hybrids name them; ARM's have a capacity of 1,024 at the largest."""
    try:
        return numbers((system / "cpu_core" / "cpus").read_text(encoding="ascii"))
    except (OSError, ValueError):
        pass
    capacities: dict[int, int] = {}
    for file in system.glob("system/cpu/cpu[0-9]*/cpu_capacity"):
        try:
            capacities[int(file.parent.name[3:])] = int(file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return set()
    least, most = min(capacities.values(), default=0), max(capacities.values(), default=0)
    # Cores between the largest and the smallest ("gold" beside one "prime") are worth their place.
    return {number for number, capacity in capacities.items() if capacity > (least if least < most else 0)}


def _siblings(system: Path, number: int) -> frozenset[int]:
    """The logical processors of one core."""
    try:
        file = system / "system" / "cpu" / f"cpu{number}" / "topology" / "thread_siblings_list"
        return frozenset(numbers(file.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return frozenset({number})


def numbers(text: str) -> set[int]:
    """A list of the kernel's, such as "0-3,8". Raises `ValueError`."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def most_capable(records: bytes) -> int:
    """Cores of the highest efficiency class in Windows' SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX records; 0 where all
    are of one class."""
    classes: list[int] = []
    at = 0
    while at + 10 <= len(records):
        relation, size, _, efficiency = struct.unpack_from("<IIBB", records, at)
        if relation == _CORE_RECORD:
            classes.append(efficiency)
        at += max(size, 10)
    return classes.count(max(classes)) if len(set(classes)) > 1 else 0


def _windows_records() -> bytes:
    if sys.platform == "win32":
        ask = ctypes.windll.kernel32.GetLogicalProcessorInformationEx
        size = ctypes.c_ulong(0)
        ask(_CORE_RECORD, None, ctypes.byref(size))
        found = ctypes.create_string_buffer(size.value)
        return found.raw[: size.value] if ask(_CORE_RECORD, found, ctypes.byref(size)) else b""
    return b""


def _sysctl(name: str, size: int) -> bytes:
    """Of macOS; empty where it does not know the name."""
    found, length = ctypes.create_string_buffer(size), ctypes.c_size_t(size)
    try:
        failed = ctypes.CDLL(None).sysctlbyname(name.encode(), found, ctypes.byref(length), None, ctypes.c_size_t(0))
    except (AttributeError, OSError):
        return b""
    return b"" if failed else found.raw[: length.value]


def _sysctl_number(name: str) -> int:
    return int.from_bytes(_sysctl(name, 8), sys.byteorder)


def _sysctl_text(name: str) -> str:
    return _sysctl(name, 256).rstrip(b"\0").decode("utf-8", "replace")
