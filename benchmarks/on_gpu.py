"""What one load on a GPU says: exactness by pass size, what a pass of n tokens costs, and the memory it really takes.

python benchmarks/on_gpu.py                          # the GPUs; exit code 3 where there is none
python benchmarks/on_gpu.py MODEL DRAFT [PLACE]      # PLACE of the draft: "" (as the main model), cpu, gpu0 …
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from foredraft.bench.costs import measure_costs
from foredraft.bench.modes import stage
from foredraft.config.load_settings import LoadSettings
from foredraft.engines.llamacpp.devices import devices
from foredraft.models.facts import read_facts
from foredraft.models.memory import LoadPlan, estimate, this_machine
from foredraft.pair.llm import LLM

NO_GPU = 3


def gpus() -> int:
    """Name them; the exit code."""
    found = devices()
    for device in found:
        print(f"{device.place}: {device.name}, {device.description}, {device.free / 2**30:.1f} GiB free")
    return 0 if found else NO_GPU


def free() -> tuple[int, int]:
    """(bytes free on all GPUs, bytes that this process holds in main memory)."""
    return sum(device.free for device in devices()), psutil.Process().memory_info().rss


def one_load(model: Path, draft: Path, place: str) -> int:
    settings = LoadSettings(context=4096, draft_device=place, remember=False)
    plan = LoadPlan(4096, settings.kv_type, settings.slots, -1, draft_gpu_layers=0 if place == "cpu" else -1)
    need = estimate(read_facts(model), read_facts(draft), plan, machine=this_machine())
    before = free()
    with LLM.load(model, draft, settings=settings, draft_required=True) as llm:
        after = free()
        numerics = llm.numerics
        if numerics is not None:
            print(f"exactness by pass size (largest difference of a logit): {numerics.by_batch}")
            print(f"beside other answers: {numerics.beside}; greedy tokens that changed: {numerics.argmax_flips}")
        with stage(llm) as of:
            costs = measure_costs(llm, of.draft_model, seconds=8.0)
        print(f"a plain step: {costs.plain_s * 1e3:.2f} ms; a draft step: {costs.draft or 0.0:.3f} of it")
        print("v(n): " + ", ".join(f"{n}: {v:.2f}" for n, v in costs.v.items()) + f"; bound {costs.bound:.2f}")
    mib = 2.0**20
    print(f"GPU memory: estimated {need.on_gpu / mib:,.0f} MiB, used {(before[0] - after[0]) / mib:,.0f} MiB")
    print(f"main memory: estimated {need.in_ram / mib:,.0f} MiB, used {(after[1] - before[1]) / mib:,.0f} MiB")
    return 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) < 2:
        sys.exit(gpus())
    sys.exit(one_load(Path(arguments[0]), Path(arguments[1]), arguments[2] if len(arguments) > 2 else ""))
