"""How passes of a model file round and what they cost on this machine, for each way to lay out weights and to attend.

    python -m benchmarks.numerics MODEL.gguf [--threads N]

One line a way: the largest |difference| of a logit between a pass of n tokens and n single steps behind 600 tokens of
natural text, and processor time of a single step and of reading a token there, both behind 1,024 tokens.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.engines.llamacpp.exactness import measure_costs
from foredraft.engines.probe import TEXTS

SIZES = (2, 3, 4, 7, 8, 9, 16, 17, 64, 100)
WAYS: tuple[tuple[str, dict[str, str | bool]], ...] = (
    ("f16 / f16 (llama.cpp's default)", {}),
    ("f16 / bf16", {"value_type": "bf16"}),
    ("bf16 / f16", {"key_type": "bf16"}),
    ("f16 / f16, no flash attention", {"flash_attention": "off"}),
)


def differences(engine: LlamaCppEngine) -> dict[int, float]:
    """By pass size, behind 600 tokens that were really read."""
    text = (engine.tokenizer.encode(" ".join(TEXTS)) * 10)[: 600 + max(SIZES)]
    engine.rewind(0, 0)
    for at in range(0, 600, 300):
        engine.forward([Chunk(0, at, text[at : at + 300])])
    tail = text[600:]
    singles = np.concatenate(
        [engine.forward([Chunk(0, 600 + i, [token], want=1)])[0].copy() for i, token in enumerate(tail)]
    )
    found = {}
    for size in SIZES:
        engine.rewind(0, 600)
        rows = engine.forward([Chunk(0, 600, tail[:size], want=size)])[0]
        found[size] = float(np.abs(rows - singles[:size]).max())
    engine.rewind(0, 0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    print("| weights | keys / values | step, ms | prompt token, ms | " + " | ".join(f"n={n}" for n in SIZES) + " |")
    print("|---" * (4 + len(SIZES)) + "|")
    for repack in (True, False):
        for name, way in WAYS:
            options = LoadOptions(
                n_ctx=2048,
                n_threads=given.threads,
                max_rows=128,
                repack=repack,
                probe=False,
                **way,  # type: ignore[arg-type]
            )
            engine = LlamaCppEngine(given.model, options)
            costs, found = measure_costs(engine, None), differences(engine)
            engine.close()
            cells = " | ".join("0" if found[n] == 0 else f"{found[n]:.2g}" for n in SIZES)
            layout = "repacked" if repack else "as in the file"
            print(f"| {layout} | {name} | {1e3 * costs.step_s:.1f} | {1e3 * costs.read_s:.2f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
