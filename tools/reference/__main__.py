"""Write docs/reference/{cli,rest,settings,python}.md from the code, and examples into the pages that show them; or
say which of them are not current.

python -m tools.reference            # writes them
python -m tools.reference --check    # exit code 1, and their names, where the code says something else by now
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.reference import cli, python, rest, settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": cli.page,
    "reference/rest.md": rest.page,
    "reference/settings.md": settings.page,
    "reference/python.md": python.page,
}
SHOWN = {"guides/write-a-drafter.md": "examples/my_drafter.py"}
"""Pages that show a file: their first block of Python is the file, whole."""
NOTE = "<!-- Made by `python -m tools.reference` from the declarations in the code. Do not edit by hand. -->\n\n"


def text(name: str) -> str:
    """The page as the code would have it now: LF line ends, one at the end, no blanks before one."""
    if name in SHOWN:
        block = f"```python\n{(ROOT / SHOWN[name]).read_text(encoding='utf-8').rstrip()}\n```\n"
        page = (DOCS / name).read_text(encoding="utf-8")
        return re.sub(r"^```python\n.*?^```\n", lambda _: block, page, count=1, flags=re.DOTALL | re.MULTILINE)
    lines = (NOTE + PAGES[name]()).splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args(arguments)
    stale = []
    for name in (*PAGES, *SHOWN):
        path, new = DOCS / name, text(name)
        if path.is_file() and path.read_text(encoding="utf-8") == new:
            continue
        stale.append(name)
        if not asked.check:
            path.write_text(new, encoding="utf-8", newline="\n")
    print("\n".join(stale) or "All are current.")
    return 1 if asked.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
