"""What a container, or a slice of systemd's, leaves to this process: memory and processors, in both versions of Linux's
control groups. A limit of any group around it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60
"""Version 1 has no word for it, and says the largest number of pages there is."""


def memory(mounted: Path = MOUNTED, own: Path = OWN) -> int | None:
    """Bytes that can still be taken; None where no group has a limit. Files in memory (`inactive_file`) make room."""
    found = []
    for group in _groups(mounted, own, ""):
        found += _room(group, "memory.max", "memory.current", "inactive_file")
    for group in _groups(mounted, own, "memory"):
        found += _room(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return min(found, default=None)


def processors(mounted: Path = MOUNTED, own: Path = OWN) -> float | None:
    """How many of them may be used on average (`docker --cpus`); None where no group has a quota."""
    found = []
    for group in _groups(mounted, own, ""):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        found += _share(quota, period)
    for group in _groups(mounted, own, "cpu"):
        found += _share(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))
    return min(found, default=None)


def _groups(mounted: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and all around it; `controller` "" is version 2. In a container the path is
    often the one outside, of which nothing but the root is seen."""
    for line in _text(own).splitlines():
        _, named, path = (*line.split(":", 2), "", "")[:3]
        if controller not in named.split(","):
            continue
        top = mounted
        if controller:  # version 1 has a tree for each, or one for two ("cpu,cpuacct") under either name
            top = mounted / (named if (mounted / named).is_dir() else controller)
        group = top / path.strip("/")
        while group != top:
            if top not in group.parents:
                break
            yield group
            group = group.parent
        yield top
        return
    if not controller:
        yield mounted


def _room(group: Path, limit: str, used: str, idle: str) -> list[int]:
    try:
        most = int(_text(group / limit))
        if most >= _NO_LIMIT:
            return []
        cache = re.search(rf"^{idle} (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
        return [max(0, most - int(_text(group / used)) + int(cache[1] if cache else 0))]
    except ValueError:  # not there, or "max"
        return []


def _share(quota: str, period: str) -> list[float]:
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # not there, or "max"
        return []
    return [share] if share > 0 else []  # -1 is none


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
