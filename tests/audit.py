"""Known vulnerabilities of what `constraints.txt` pins: `python -m tests.audit` (`make audit`).

pip-audit asks PyPI. What it finds must be in `docs/security-dependencies.md`, where each advisory that was looked at is
named; else this ends with 1. Where its data cannot be reached (it then calls everything skipped, and nothing found),
that is said, with the date of that list, which is all there is then.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOKED_AT = ROOT / "docs" / "security-dependencies.md"
COMMAND = ["-r", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip", "--format", "json", "--timeout", "20"]


def verdict(said: str, looked_at: str) -> tuple[int, str]:
    """(exit status, words) for pip-audit's JSON and the list of what was looked at."""
    date = re.search(r"Looked at on (\S+?),? ", looked_at)
    listed = f"docs/security-dependencies.md, looked at on {date[1] if date else 'an unknown day'}"
    try:
        packages = json.loads(said[said.index("{") :])["dependencies"]
    except (ValueError, KeyError):
        return 0, f"NOT AUDITED: pip-audit could not reach its data. What is known is {listed}."
    audited = [one for one in packages if "vulns" in one]
    skipped = len(packages) - len(audited)
    if not audited:
        return 0, f"NOT AUDITED: pip-audit knows none of {skipped} packages here. What is known is {listed}."
    new = [
        f"{one['name']} {one['version']}: {found['id']} (fixed in {', '.join(found['fix_versions']) or 'no version'})"
        for one in audited
        for found in one["vulns"]
        if not any(name in looked_at for name in (found["id"], *found.get("aliases", [])))
    ]
    words = f"{len(audited)} packages audited, {skipped} not known to PyPI; {len(new)} advisories not in {listed}."
    return int(bool(new)), "\n".join([words, *new])


def main() -> int:
    ran = subprocess.run(
        [sys.executable, "-m", "pip_audit", *COMMAND],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    status, words = verdict(ran.stdout, LOOKED_AT.read_text(encoding="utf-8"))
    print(words)
    return status


if __name__ == "__main__":
    sys.exit(main())
