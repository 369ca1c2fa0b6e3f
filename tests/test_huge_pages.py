"""Where it helps, a process that loads models begins in an environment in which the C library asks for huge pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from foredraft.huge_pages import VARIABLE, WISH, environment


def kernel(folder: Path, says: str) -> Path:
    file = folder / "enabled"
    file.write_text(says, encoding="ascii")
    return file


glibc = pytest.mark.skipif(
    sys.platform != "linux" or "glibc 2." not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
    reason="huge pages are asked for through glibc on Linux",
)


@glibc
@pytest.mark.parametrize(
    ("says", "before", "expected"),
    [
        ("always [madvise] never", {}, WISH),
        ("always [madvise] never", {VARIABLE: "glibc.malloc.check=1"}, f"glibc.malloc.check=1:{WISH}"),
        ("always [madvise] never", {VARIABLE: "glibc.malloc.hugetlb=0"}, None),  # the user's word stands
        ("always [madvise] never", {VARIABLE: WISH}, None),  # so a process begins anew once only
        ("[always] madvise never", {}, None),
        ("always madvise [never]", {}, None),
    ],
)
def test_where_it_helps(tmp_path: Path, says: str, before: dict[str, str], expected: str | None) -> None:
    assert environment(before, kernel(tmp_path, says)).get(VARIABLE) == expected


def test_a_kernel_that_says_nothing(tmp_path: Path) -> None:
    assert environment({}, tmp_path / "none") == {}


SHOW = f"""
import os, sys
from pathlib import Path
from foredraft import huge_pages
huge_pages.KERNEL = Path(sys.argv[1])
huge_pages.environment.__defaults__ = (huge_pages.KERNEL,)
number = os.environ.setdefault("NUMBER", str(os.getpid()))
huge_pages.restart()
print(os.environ["{VARIABLE}"], number == str(os.getpid()), *sys.argv[2:], sys.stdin.read())
"""


@glibc
def test_a_process_begins_anew_with_its_number_arguments_and_input(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "NUMBER")}
    run = [sys.executable, "-c", SHOW, str(kernel(tmp_path, "always [madvise] never")), "--a", "b c"]
    done = subprocess.run(run, env=environ, input="told", capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.split("\n")[0] == f"{WISH} True --a b c told"
