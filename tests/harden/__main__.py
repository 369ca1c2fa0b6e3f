"""Attacks that stay: `python -m tests.harden [NAME …] --minutes N` (`make harden`).

Each campaign begins with what once failed, goes on at random, stays on loopback and in temporary folders, and runs in a
process of its own, so that a death is a finding. The exit status is 1 where anything was found.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import subprocess
import sys
import tempfile
import time

from tests.harden.tally import Tally

CAMPAIGNS = {
    "headers": "tests.harden.headers",
    "loads": "tests.harden.loads",
    "asked": "tests.harden.asked",
    "templates": "tests.harden.templates",
    "schemas": "tests.harden.schemas",
    "hosts": "tests.harden.hosts",
    "requests": "tests.harden.requests",
}
"""Name to the module with its `run(tally, draw)`."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.harden", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*CAMPAIGNS, []], help="campaigns; all of them by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="for all campaigns together")
    parser.add_argument("--cases", type=int, default=sys.maxsize, help="of each campaign, at most")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.names or list(CAMPAIGNS)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    seconds = given.minutes * 60 / len(names)
    if given.here:
        (name,) = names
        tally = Tally(time.monotonic() + seconds, most=given.cases)
        importlib.import_module(CAMPAIGNS[name]).run(tally, random.Random(seed))
        print(f"{name}: {tally}")
        for bad in tally.bad:
            print(f"  {bad}")
        return int(bool(tally.bad))
    print(f"seed {seed}, {given.minutes:g} minutes", flush=True)
    return max([_in_a_process_of_its_own(name, seconds, seed, given.cases) for name in names])


def _in_a_process_of_its_own(name: str, seconds: float, seed: int, cases: int) -> int:
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "tests.harden", name, "--here"),
                *("--minutes", str(seconds / 60), "--seed", str(seed), "--cases", str(cases)),
            ],
            env={**os.environ, "FOREDRAFT_HOME": home, "HF_HOME": home},
            stderr=said,
            check=False,
        )
        if ran.returncode in (0, 1):
            return ran.returncode
        said.seek(0)
        print(f"{name}: ended with {ran.returncode} in:\n{''.join(said.readlines()[-5:])}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
