"""The command: see the package's docstring."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tests.speculative.simulator.ablation import ablate, sweep
from tests.speculative.simulator.table import Plan, compare, shipped, show
from tests.speculative.simulator.world import CURVES, STREAMS

parser = argparse.ArgumentParser(description="The controller against an oracle, on a virtual clock.")
parser.add_argument("--quick", action="store_true")
parser.add_argument("--tokens", type=int, default=20_000)
parser.add_argument("--cold", type=int, default=20, help="cold runs of 300 tokens")
parser.add_argument("--seeds", type=int, default=1, help="texts a row")
parser.add_argument("--curves", nargs="*", default=list(CURVES))
parser.add_argument("--streams", nargs="*", default=list(STREAMS))
parser.add_argument("--promise", default="standard")
parser.add_argument("--fork", action="store_true", help="rejected guesses are read again (recurrent models)")
parser.add_argument("--json", type=Path, help="write the table to this file, too")
parser.add_argument("--ablate", action="store_true", help="what each part is worth: 5,000 tokens, four curves")
parser.add_argument("--sweep", metavar="NAME", help="the same with one hyperparameter halved and doubled")
parser.add_argument("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help="two such files side by side")
asked = parser.parse_args()
plan = Plan(
    tokens=3000 if asked.quick else asked.tokens,
    cold=3 if asked.quick else asked.cold,
    seeds=asked.seeds,
    curves=["CPU", "GPU", "MoE"] if asked.quick else asked.curves,
    streams=asked.streams,
    fork=asked.fork,
)
if asked.compare:
    compare(*asked.compare)
elif asked.ablate or asked.sweep:
    small = replace(plan, tokens=min(plan.tokens, 5000), cold=min(plan.cold, 5))
    if len(asked.curves) == len(CURVES):
        small = replace(small, curves=["CPU", "GPU", "MoE", "1B-F16"])
    ablate(small) if asked.ablate else sweep(small, asked.sweep)
else:
    show(plan, shipped(asked.promise), asked.json)
