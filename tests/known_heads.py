"""Files whose weights implement a known table, so that a head that is wired rightly is right every time.

The main model goes round a circle of `CIRCLE` tokens: behind one of them comes the next. Its hidden row of a token is
that token, as a direction. The head turns the row it is given one step on, and so guesses the token two steps behind
the row's; the row it hands on to itself is one step on, too. The token of the pair and what was read before do not
matter to it. So fed the row before each token it is right always, and fed the row of a neighbour position never.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.random_kinds import KINDS, VOCABULARY, WIDTH, glm4moe, write_plan

CIRCLE = list(range(270, 286))
"""Token ids, in the order in which they come."""
SURE = 4.0
"""By how much the next token stands out: logits of 8 times as much, against 0."""


def circle(path: Path, layers: int = 2, *, kind: str = "") -> Path:
    """A model of so many layers, which add nothing, with its head in the file; or one of another kind."""
    plan = KINDS[kind]() if kind else glm4moe(layers)
    weights = {name: _quiet(name, size) for name, size in plan.tensors}
    weights["token_embd.weight"], weights["output.weight"], turn = _tables()
    of_token = np.zeros_like(turn)
    (head,) = (name for name in weights if name.endswith("nextn.eh_proj.weight"))
    weights[head] = np.concatenate((of_token, turn), axis=1)  # of (token, row): the row alone
    if ("output.weight", (VOCABULARY, WIDTH)) not in plan.tensors:
        plan.tensors.append(("output.weight", (VOCABULARY, WIDTH)))
    return write_plan(path, plan, weights, name="circle")


def eagle(main: Path, draft: Path) -> tuple[Path, Path]:
    """The same circle, and an EAGLE-3 draft for it whose first guess of a round is right every time: its encoder takes
    the input of the first of its three layers, which is the token, and turns it one step on."""
    plan = KINDS["llama"]()
    weights = {name: _quiet(name, size) for name, size in plan.tensors}
    weights["token_embd.weight"], weights["output.weight"], turn = _tables()
    write_plan(main, plan, weights, name="circle")
    plan = KINDS["eagle3"]()
    weights = {name: _quiet(name, size) for name, size in plan.tensors}
    weights["fc.weight"] = np.concatenate((turn, np.zeros((WIDTH, 2 * WIDTH), dtype=np.float32)), axis=1)
    return main, write_plan(draft, plan, weights, name="eagle")


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding and output of the circle, and what turns a row one step on."""
    size = len(CIRCLE)
    embedding = np.zeros((VOCABULARY, WIDTH), dtype=np.float32)
    embedding[:, size] = 1.0  # every other token is alike
    output = np.zeros((VOCABULARY, WIDTH), dtype=np.float32)
    turn = np.zeros((WIDTH, WIDTH), dtype=np.float32)
    for place, token in enumerate(CIRCLE):
        embedding[token] = 0.0
        embedding[token, place] = 1.0
        output[CIRCLE[(place + 1) % size], place] = SURE
        turn[(place + 1) % size, place] = 1.0
    output[CIRCLE[0], size] = SURE  # behind any other token the circle begins
    turn[0, size] = 1.0
    return embedding, output, turn


def _quiet(name: str, size: tuple[int, ...]) -> np.ndarray:
    """Norms of one, and layers that add nothing."""
    return np.ones(size, dtype=np.float32) if "norm" in name else np.zeros(size, dtype=np.float32)
