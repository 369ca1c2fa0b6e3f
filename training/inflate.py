"""Write a small GGUF anew with the same logits at a bigger model's shape and cost.

    python -m training.inflate src/foredraft/demo/main.gguf build/main-1b.gguf --size 1b --kind q8_0

The work is done by ``foredraft.bench.inflate``, which ``foredraft bench`` uses too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from foredraft.bench.inflate import KINDS, SIZES, inflate


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.inflate", description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--kind", choices=KINDS, default="q8_0")
    chosen = parser.parse_args(arguments)
    path = inflate(chosen.source, chosen.target, chosen.size, chosen.kind)
    print(f"{path}: {path.stat().st_size / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
