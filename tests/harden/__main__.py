"""Attacks that stay, bounded and on the loopback only: `python -m tests.harden NAME [--minutes N]`.

Exits with 1 when something fell. Each name is a module beside this one with `attack(seconds) -> list of what fell`.
"""

import argparse
import importlib
import sys
from pathlib import Path


def main() -> int:
    here = Path(__file__).parent
    names = sorted(file.stem for file in here.glob("*.py") if "def attack(" in file.read_text(encoding="utf-8"))
    names = [name for name in names if name != "__main__"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*names, []], help="default: all")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each")
    asked = parser.parse_args()
    fell = []
    for name in asked.names or names:
        found = importlib.import_module(f"tests.harden.{name}").attack(asked.minutes * 60)
        print(f"{name}: {len(found)} fell", flush=True)
        fell += [f"{name}: {one}" for one in found]
    print("\n".join(fell))
    return 1 if fell else 0


if __name__ == "__main__":
    sys.exit(main())
