"""Huge pages for the weights: fewer of the processor's address look-ups, so more of the memory's speed.

Writing a token reads every weight once. llama.cpp lays weights out anew in memory of its own, which Linux backs with
pages of 4 KiB unless whoever allocates it asks for more (`transparent_hugepage` set to `madvise`, as Debian's and
Ubuntu's kernels for servers have it). llama.cpp does not ask; the C library does where its variable says so, which it
reads as a process begins (glibc 2.35, "glibc.malloc.hugetlb", man ld.so). Measured: docs/guides/bench.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE, WISH = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_OLDEST = (2, 35)


def environment(environ: Mapping[str, str], kernel: Path = KERNEL) -> dict[str, str]:
    """What to add to the environment of a process that loads models; {} where that brings nothing: another system or C
    library, a kernel that always or never gives huge pages, or a user who has decided."""
    said = environ.get(VARIABLE, "")
    if sys.platform != "linux" or "glibc.malloc.hugetlb" in said or not _has_glibc():
        return {}
    try:
        asked_for = "[madvise]" in kernel.read_text(encoding="ascii")
    except (OSError, ValueError):
        return {}
    return {VARIABLE: f"{said}:{WISH}" if said else WISH} if asked_for else {}


def restart() -> None:
    """Begin this process again in that environment, with the same number, files and arguments, where it brings
    something. To be called before anything is loaded or opened; else it does nothing."""
    more = environment(os.environ)
    if more and sys.executable and not getattr(sys, "frozen", False):
        try:
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **more})  # noqa: S606
        except OSError:
            return  # it is for speed only


def _has_glibc() -> bool:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= _OLDEST
    except (ValueError, OSError, AttributeError):
        return False
