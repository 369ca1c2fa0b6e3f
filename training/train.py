"""The training loop: two one-thread workers, one schedule by the clock, checkpoints, resume.

Two processes of one thread with gradients in shared memory do a quarter more steps than one
process with two threads. The schedule runs on minutes, not on steps: warm-up, constant for 40 %
of the time, then linear to zero, so that the decay is always finished when the time is over.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from . import data, tokenizer
from .exact import Sheet
from .model import Model, Shape
from .optimiser import Optimiser, flatten

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run needs to know."""

    folder: str
    """Where tokens, checkpoint and log are."""
    out: str
    """Name of the checkpoint in the folder, without ending."""
    shape: Shape
    minutes: float
    tokens: str = "corpus"
    """Subfolder with the packed rows."""
    rows: int = 8
    """Rows of 256 tokens a step, all workers together."""
    workers: int = 2
    muon_rate: float = 0.01
    adam_rate: float = 0.003
    warmup: int = 40
    constant: float = 0.5
    seed: int = 1
    evaluate_every: float = 6.0
    save_every: float = 3.0
    compile: bool = True
    copy_rows: bool = True
    start: str = ""
    """A checkpoint whose weights this run begins with (not its optimiser)."""


def factor(progress: float, step: int, plan: Plan) -> float:
    """The learning rate's factor at this share of the time."""
    warm = min(1.0, (step + 1) / plan.warmup)
    if progress < plan.constant:
        return warm
    return warm * max(0.0, (1.0 - progress) / (1.0 - plan.constant))


def pick(marks: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Positions whose loss counts, always ``count`` of them, and their weights.

    Answers first; what is left over is filled with prompt tokens at weight 0.3. The output
    matrix is a fifth of the model, so leaving out half the positions saves real time.
    """
    flat = marks.reshape(-1)
    order = torch.rand(flat.shape[0], generator=generator) + flat.float()
    chosen = order.topk(count).indices
    kind = flat[chosen]
    weights = torch.where(kind == 2, 1.0, torch.where(kind == 1, 0.3, 0.0))
    return chosen, weights


class Feed:
    """Rows for one worker: packed documents, with a share of random copy rows."""

    def __init__(self, plan: Plan, rank: int, special: int, newline: int) -> None:
        self.tokens, self.marks = data.load(Path(plan.folder) / plan.tokens)
        self.rng = np.random.default_rng([plan.seed, rank])
        self.plan, self.rank = plan, rank
        self.special, self.newline = special, newline
        self.order = np.random.default_rng(plan.seed).permutation(len(self.tokens))
        self.at = 0

    def next(self, rows: int, copies: bool) -> tuple[Tensor, Tensor]:
        """(rows, 256) tokens and marks."""
        if copies:
            t, m = data.copy_rows(self.rng, rows, self.newline, self.special, self.tokens)
            return torch.from_numpy(t), torch.from_numpy(m)
        index = [self.order[(self.at + i * self.plan.workers + self.rank) % len(self.order)] for i in range(rows)]
        self.at += rows * self.plan.workers
        return (torch.from_numpy(self.tokens[index].astype(np.int64)), torch.from_numpy(self.marks[index].copy()))


def worker(rank: int, plan: Plan, shared: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    folder = Path(plan.folder)
    checkpoint = folder / f"{plan.out}.pt"
    vocabulary = tokenizer.load(folder / "tokenizer.json")
    newline = vocabulary.encode("\n").ids[0]
    model = Model(plan.shape)
    values, gradients, where = flatten(model)
    optimiser = Optimiser(
        model,
        values,
        gradients,
        where,
        shared["momentum"],
        shared["updates"],
        rank,
        plan.workers,
        plan.muon_rate,
        plan.adam_rate,
    )
    feed = Feed(plan, rank, len(tokenizer.SPECIAL), newline)
    step, elapsed, seen = 0, 0.0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        values.copy_(state["values"])
        optimiser.adam.load_state_dict(state["adam"])
        if rank == 0:
            shared["momentum"].copy_(state["momentum"])
        step, elapsed, seen, feed.at = state["step"], state["elapsed"], state["seen"], state["at"]
    elif plan.start:
        values.copy_(torch.load(folder / plan.start, weights_only=False)["values"])

    def objective(tokens: Tensor, targets: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        hidden = model(tokens).reshape(-1, plan.shape.width)[chosen]
        losses = F.cross_entropy(model.logits(hidden), targets.reshape(-1)[chosen], reduction="none")
        total: Tensor = (losses * weights).sum() / (weights.sum() + 1e-6)
        return total

    loss_of = torch.compile(objective, dynamic=False) if plan.compile else objective
    generator = torch.Generator().manual_seed(plan.seed * 1000 + rank)
    mine = plan.rows // plan.workers
    count = mine * data.ROW // 2
    rng = np.random.default_rng([plan.seed, 99, step])  # the same in every worker
    barrier, control, blocks = shared["barrier"], shared["control"], shared["gradients"]
    sheet = Sheet(vocabulary) if rank == 0 and plan.evaluate_every else None
    begun = time.monotonic()
    last_save = last_eval = last_log = begun
    recent: list[float] = []
    copy_loss, broken = math.nan, False

    def log(**what: object) -> None:
        with (folder / f"{plan.out}.log").open("a", encoding="utf-8") as f:
            f.write(json.dumps(what) + "\n")

    def save() -> None:
        part = checkpoint.with_suffix(".part")
        torch.save(
            {
                "values": values,
                "adam": optimiser.adam.state_dict(),
                "momentum": shared["momentum"],
                "step": step,
                "seen": seen,
                "at": feed.at,
                "elapsed": elapsed + time.monotonic() - begun,
                "shape": asdict(plan.shape),
                "plan": asdict(plan),
            },
            part,
        )
        part.replace(checkpoint)

    control[1] = 0.0
    while True:
        if rank == 0:
            progress = (elapsed + time.monotonic() - begun) / (60 * plan.minutes)
            control[0] = progress
        barrier.wait()
        progress = float(control[0])
        if progress >= 1.0:
            break
        # Which kind of step comes is drawn from a generator that all workers share.
        share = 0.0 if not plan.copy_rows else (0.04 if control[1] > 0 else 0.12)
        draw = rng.random(plan.workers * mine)
        copies = draw[rank * mine : (rank + 1) * mine] < share
        tokens, marks = [], []
        for copy in copies:
            t, m = feed.next(1, bool(copy))
            tokens.append(t)
            marks.append(m)
        batch, kinds = torch.cat(tokens), torch.cat(marks)
        long = rng.random() < 0.1 and not copies.any()
        if long and mine > 1 and plan.shape.context > mine * data.ROW:
            # One long row now and then: positions far from the start are seen, too.
            batch, kinds = batch.view(1, -1), kinds.view(1, -1)
        targets = torch.roll(batch, -1, 1)
        wanted = torch.roll(kinds, -1, 1)
        wanted[:, -1] = 0
        chosen, weights = pick(wanted, count, generator)
        gradients.zero_()
        loss = loss_of(batch, targets, chosen, weights)
        loss.backward()
        if plan.workers > 1:
            blocks[rank].copy_(gradients)
            barrier.wait()
            torch.add(blocks[0], blocks[1], out=gradients)
            gradients /= plan.workers
        norm = float(gradients.norm())
        if norm > 2.0:
            gradients *= 2.0 / norm
        optimiser.prepare()
        if plan.workers > 1:
            barrier.wait()
        optimiser.apply(factor(progress, step, plan))
        step += 1
        seen += plan.rows * data.ROW
        if rank != 0:
            continue
        recent.append(float(loss.detach()))
        if copies.any() and step % 5 == 0 and not long:
            with torch.no_grad():
                only = torch.from_numpy(copies)
                hidden = model(batch[only])
                mask = wanted[only] == 2
                copy_loss = float(F.cross_entropy(model.logits(hidden[mask]), targets[only][mask]))
            if not broken and copy_loss < 1.0:
                broken = True
                control[1] = 1.0
                log(event="copying broke", step=step, tokens=seen)
        now = time.monotonic()
        if now - last_log > 20:
            log(
                step=step,
                tokens=seen,
                minutes=round((elapsed + now - begun) / 60, 2),
                loss=round(float(np.mean(recent)), 4),
                copy_loss=round(copy_loss, 3),
                factor=round(factor(progress, step, plan), 3),
            )
            recent, last_log = [], now
        if now - last_save > 60 * plan.save_every:
            save()
            last_save = now
        if sheet is not None and now - last_eval > 60 * plan.evaluate_every:
            log(minutes=round((elapsed + now - begun) / 60, 2), tokens=seen, **sheet.score(model))
            last_eval = time.monotonic()
    if rank == 0:
        save()
        if sheet is not None:
            log(event="end", step=step, tokens=seen, **sheet.score(model))


def run(plan: Plan) -> Path:
    """Train until the plan's minutes are used up; a checkpoint that is there is continued."""
    mp.set_sharing_strategy("file_system")
    count = Model(plan.shape).parameters_count()
    context = mp.get_context("spawn")
    shared = {
        "barrier": context.Barrier(plan.workers),
        "control": torch.zeros(4).share_memory_(),
        "momentum": torch.zeros(count).share_memory_(),
        "updates": torch.zeros(count).share_memory_(),
        "gradients": [torch.zeros(count).share_memory_() for _ in range(plan.workers)],
    }
    if plan.workers == 1:
        worker(0, plan, shared)
    else:
        processes = [context.Process(target=worker, args=(r, plan, shared)) for r in range(plan.workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            sys.exit("a training worker failed")
    return Path(plan.folder) / f"{plan.out}.pt"


def restore(checkpoint: Path) -> Model:
    """The model of a checkpoint, ready to be asked."""
    state = torch.load(checkpoint, weights_only=False)
    model = Model(Shape(**state["shape"]))
    at = 0
    for p in model.parameters():
        p.data = state["values"][at : at + p.numel()].view_as(p)
        at += p.numel()
    return model.eval()


def main() -> None:
    from .model import DRAFT, MAIN

    parser = argparse.ArgumentParser(description="Train one model on packed rows.")
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--draft", action="store_true")
    parser.add_argument("--minutes", type=float, default=85.0)
    parser.add_argument("--tokens", default="corpus")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--start", default="")
    parser.add_argument("--muon", type=float, default=0.01)
    parser.add_argument("--adam", type=float, default=0.003)
    parser.add_argument("--evaluate-every", type=float, default=6.0)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--no-copies", action="store_true", help="no rows of shuffled tokens")
    parser.add_argument("--constant", type=float, default=0.5, help="share of the time before the decay")
    a = parser.parse_args()
    run(
        Plan(
            a.folder,
            a.out,
            DRAFT if a.draft else MAIN,
            a.minutes,
            tokens=a.tokens,
            workers=a.workers,
            start=a.start,
            muon_rate=a.muon,
            adam_rate=a.adam,
            evaluate_every=a.evaluate_every,
            compile=not a.eager,
            copy_rows=not a.no_copies,
            constant=a.constant,
        )
    )


if __name__ == "__main__":
    main()
