"""What going back costs on a model with a recurrent state: rounds by rollback and by fork, against passes as wide.

    python -m benchmarks.going_back MODEL.gguf --gamma 4

All in one run, in turns, as multiples of a plain step. `stand` are rounds whose guesses all stand, `fail` those of
which half do, so that the other half is taken back; `wide` reads as many tokens with nothing to take back.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from foredraft.engines.base import Chunk, Engine
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions

_BEHIND = 64
"""Tokens of the text that every round comes behind, at least."""


def costs(open_engine: Callable[[int], Engine], gamma: int, turns: int) -> dict[str, dict[str, float]]:
    """By way back and kind of round: the mean round's seconds over those of the median plain step.
    `open_engine(snapshots)` opens the model anew."""
    found: dict[str, dict[str, float]] = {}
    for snapshots in (gamma, 0):
        engine = open_engine(snapshots)
        way = engine.rewind_limit.way
        if way not in found:
            found[way] = _of(engine, gamma, turns)
        engine.close()
    return found


def _of(engine: Engine, gamma: int, turns: int) -> dict[str, float]:
    rounds = {"plain": (0, 0, 0), "wide": (gamma, 0, 0)}  # tokens more than one, guesses, those that stand
    rounds |= {"stand": (gamma, gamma, gamma), "fail": (gamma, gamma, gamma // 2)}
    times: dict[str, list[float]] = {name: [] for name in rounds}
    for turn in range(turns):
        for name, (more, guesses, stand) in rounds.items():
            if engine.length(0) + 8 * (gamma + 1) > engine.info.n_ctx or not engine.length(0):
                engine.rewind(0, 0)
                engine.forward([Chunk(0, 0, [7] * _BEHIND)])
            for _ in range(4):  # several in a row: a round pays for what the one before it has left
                began, start = time.perf_counter(), engine.length(0)
                if engine.rewind_limit.guesses(engine.owed(0)) == 0:
                    engine.forward([Chunk(0, start, [9], 1)])
                else:
                    engine.forward([Chunk(0, start, [9 + turn % 100] * (1 + more), 1 + more, guesses)])
                    if stand < guesses:
                        engine.rewind(0, start + 1 + stand)
                times[name].append(time.perf_counter() - began)
    plain = median(times["plain"])
    return {name: sum(taken) / len(taken) / plain for name, taken in times.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.going_back", description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--gamma", type=int, default=4)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--threads", type=int, default=None)
    asked = parser.parse_args(arguments)

    def open_engine(snapshots: int) -> Engine:
        options = LoadOptions(n_ctx=1024, n_threads=asked.threads, snapshots=snapshots, probe=False)
        return LlamaCppEngine(asked.model, options)

    for way, kinds in costs(open_engine, asked.gamma, asked.turns).items():
        print(way, *(f"{name} {ratio:.2f}" for name, ratio in kinds.items()))


if __name__ == "__main__":
    main()
