"""What a load will need, before anything is loaded: weights, KV caches and scratch memory of main model and draft.

Computed from the headers, after llama.cpp's own sizes: KV cells are rounded up to 256, all slots share one pool,
sliding windows are kept in full (the engine goes back in them), and scratch memory is that of the largest step of one
pass. It is an estimate; `docs/guides/models.md` says how near it came to what the library took.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from foredraft.core.errors import MemoryLimitError
from foredraft.core.params import BUILTIN, MAX_DRAFT
from foredraft.core.reasons import Reason, sentences
from foredraft.engines.llamacpp.memory import KV_BITS, free_memory
from foredraft.engines.llamacpp.options import DEFAULT_CONTEXT, LoadOptions
from foredraft.models.facts import ModelFacts
from foredraft.models.heads import ASSISTANT
from foredraft.models.pairing import MemoryCheck
from foredraft.models.states import ROLLBACK

_LEFT_FREE = {"relaxed": 0.0, "strict": 0.2}
"""Share of the free memory that a load must leave."""

_HEAP = 4 << 20
"""Bytes a model takes beside its buffers: the library's tables, thread stacks."""
_TOKEN_BYTES, _MERGE_BYTES = 140, 160
"""Bytes of one token and one merge in the loaded tokenizer (measured at 4,096 to 152,000 tokens)."""
_LEAST_CONTEXT = 512
_SNAPSHOTS = (12, 8, 6, 4, 3, 2)
"""What is tried where the planned snapshots do not fit. One costs as much as a fork, which has no limit."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """How a pair is to be loaded; what the estimate depends on. Lengths in tokens."""

    context: int | None = None
    """None takes the main model's own, at most `DEFAULT_CONTEXT`."""
    kv_type: str = "f16"
    slots: int = 1
    gpu_layers: int = -1
    draft_gpu_layers: int = -1
    batch: int = 512
    flash_attention: str = "auto"
    snapshots: int = MAX_DRAFT
    """Most recurrent states kept of the end of a pass, where the main model's architecture can roll back."""

    def tokens(self, main: ModelFacts) -> int:
        """The context that a load will really have."""
        return self.context or min(main.n_ctx_train or DEFAULT_CONTEXT, DEFAULT_CONTEXT)


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes one model takes. `on_gpu` is the part of the whole that lies in video memory."""

    weights: int
    kv: int
    compute: int
    overhead: int
    on_gpu: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.overhead

    @property
    def in_ram(self) -> int:
        return self.total - self.on_gpu


@dataclass(frozen=True, slots=True)
class Machine:
    """Free memory in bytes. `video` is 0 without a GPU that the engine can use."""

    ram: int
    ram_total: int
    video: int = 0
    video_total: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a pair will need on a machine, and whether it fits."""

    plan: LoadPlan
    context: int
    main: Need
    draft: Need | None
    machine: Machine
    guardrail: str
    snapshots: int = 0
    """As many of those planned as fit: the most that may be guessed at once. With 0 the model goes back by a fork."""

    @property
    def total(self) -> int:
        return self.main.total + (self.draft.total if self.draft else 0)

    @property
    def in_ram(self) -> int:
        return self.main.in_ram + (self.draft.in_ram if self.draft else 0)

    @property
    def on_gpu(self) -> int:
        return self.total - self.in_ram

    @property
    def fits(self) -> bool:
        share = 1 - _LEFT_FREE.get(self.guardrail, 0.0)
        return self.in_ram <= self.machine.ram * share and self.on_gpu <= self.machine.video * share

    def as_json(self) -> dict[str, object]:
        """Plain values, sizes in bytes."""

        def need(part: Need | None) -> dict[str, int] | None:
            if part is None:
                return None
            return {
                "weights": part.weights,
                "kv": part.kv,
                "compute": part.compute,
                "overhead": part.overhead,
                "total": part.total,
            }

        return {
            "context": self.context,
            "kv_type": self.plan.kv_type,
            "slots": self.plan.slots,
            "snapshots": self.snapshots,
            "main": need(self.main),
            "draft": need(self.draft),
            "total": self.total,
            "in_ram": self.in_ram,
            "on_gpu": self.on_gpu,
            "free_ram": self.machine.ram,
            "free_video": self.machine.video,
            "guardrail": self.guardrail,
            "fits": self.fits,
        }


def this_machine() -> Machine:
    """Free memory now. Video memory counts only where the engine was built to use it."""
    import psutil

    free, total = _video()
    if total:
        from foredraft.engines.llamacpp.library import library

        if not library().api.llama_supports_gpu_offload():
            free = total = 0
    return Machine(free_memory(), psutil.virtual_memory().total, free, total)


def estimate(
    main: ModelFacts,
    draft: ModelFacts | None = None,
    plan: LoadPlan | None = None,
    *,
    machine: Machine | None = None,
    guardrail: str = "relaxed",
) -> Estimate:
    """What loading main and draft will need. The draft has the main model's context and KV type."""
    plan = plan or LoadPlan()
    machine = machine or this_machine()
    context = plan.tokens(main)
    # Without a GPU there is nothing to put layers on, whatever was asked for.
    layers = (plan.gpu_layers, plan.draft_gpu_layers) if machine.video_total else (0, 0)
    drafts = need(draft, plan, context, layers[1]) if draft is not None else None
    most = plan.snapshots if main.architecture in ROLLBACK else 0
    for snapshots in sorted({*(n for n in _SNAPSHOTS if n < most), most, 0}, reverse=True):
        own = need(main, plan, context, layers[0], snapshots)
        made = Estimate(plan, context, own, drafts, machine, guardrail, snapshots)
        if guardrail == "off" or made.fits:
            break
    return made


def memory_check(plan: LoadPlan, *, machine: Machine | None = None, guardrail: str = "relaxed") -> MemoryCheck:
    """For pairing: bytes that main and draft need together, and bytes free, of the memory that is short."""
    machine = machine or this_machine()

    def check(main: ModelFacts, draft: ModelFacts) -> tuple[int, int]:
        made = estimate(main, draft, plan, machine=machine, guardrail=guardrail)
        share = 1 - _LEFT_FREE.get(guardrail, 0.0)
        if made.on_gpu > machine.video * share:
            return made.on_gpu, round(machine.video * share)
        return made.in_ram, round(machine.ram * share)

    return check


def need(model: ModelFacts, plan: LoadPlan, context: int, gpu_layers: int = 0, snapshots: int = 0) -> Need:
    """Bytes of one model with `context` tokens, `gpu_layers` of its layers on a GPU (-1: all), so many `snapshots`."""
    kv = kv_bytes(model, context, plan.kv_type, plan.slots, snapshots)
    compute = compute_bytes(model, plan, context)
    kept = state_bytes(model) * plan.slots * LoadOptions().checkpoints
    overhead = kept + _HEAP + _TOKEN_BYTES * model.vocabulary.n_tokens + _MERGE_BYTES * model.vocabulary.n_merges
    weights, n_layers = model.weights, max(len(model.weights.layers), 1)
    on_gpu_layers = n_layers if gpu_layers < 0 else min(gpu_layers, n_layers)
    on_gpu = 0
    if on_gpu_layers:
        share = on_gpu_layers / n_layers
        on_gpu = sum(weights.layers[n_layers - on_gpu_layers :]) + round(kv * share) + compute
        if gpu_layers < 0 or gpu_layers > n_layers:  # the output matrix counts as one layer more
            on_gpu += weights.output or weights.embedding
    # what is inside the main model is counted there
    own = 0 if model.path.name == BUILTIN else weights.total
    return Need(own, kv, compute, overhead, on_gpu)


def kv_bytes(model: ModelFacts, context: int, kv_type: str, slots: int = 1, snapshots: int = 0) -> int:
    """Bytes of the KV cache of all slots together, and of the states of recurrent layers."""
    cells, shape = -(-context // 256) * 256, model.shape
    if model.kind == "helper":
        return _head_kv_bytes(model, cells, kv_type)
    if shape.latent_kv:
        values = shape.latent_kv * shape.n_layers
    else:
        values = sum(shape.n_kv_heads) * (shape.key_length + shape.value_length)
    return round(cells * values * KV_BITS[kv_type] / 8) + state_bytes(model) * slots * (1 + (snapshots or 1))


def state_bytes(model: ModelFacts) -> int:
    """Bytes of the recurrent state of one sequence. Each slot has one more for each snapshot, or one to fork from."""
    return 4 * model.shape.recurrent_state * model.shape.recurrent_layers


def _head_kv_bytes(model: ModelFacts, cells: int, kv_type: str) -> int:
    """Bytes of the KV cache of a draft that reads hidden rows: its own layers only, and none where it looks into the
    main model's memory."""
    if model.architecture == ASSISTANT:
        return 0
    shape, n = model.shape, model.heads.said or len(model.shape.n_kv_heads)
    values = sum(shape.n_kv_heads[-n:]) * (shape.key_length + shape.value_length)
    return round(cells * values * KV_BITS[kv_type] / 8)


def compute_bytes(model: ModelFacts, plan: LoadPlan, context: int) -> int:
    """Bytes of scratch memory: the larger of one layer's step and the step that makes the rows of logits."""
    shape, tokens = model.shape, min(plan.batch, context)
    cells = -(-context // 256) * 256
    feed_forward = 3 * shape.n_ff * max(shape.n_experts_used, 1)
    attention = 2 * shape.n_heads * shape.key_length + 2 * max(shape.n_kv_heads, default=0) * shape.value_length
    # without flash attention every head's scores of a step are written out, and the mask is twice as wide
    written = plan.flash_attention == "off"
    scores, mask = (4 * shape.n_heads * cells * tokens if written else 0), (4 if written else 2) * cells * tokens
    layer = mask + 4 * tokens * 4 * shape.n_embd + max(4 * tokens * feed_forward, scores + 4 * tokens * attention)
    rows = LoadOptions(n_slots=plan.slots).rows(tokens)
    logits = 4 * rows * model.vocabulary.n_tokens + 8 * tokens * shape.n_embd
    # what rows are copied to grows with use; rounds use about half of it, a prompt that is scored all
    return max(layer, logits) + 4 * (rows // 2) * model.vocabulary.n_tokens


def require_fit(
    main: ModelFacts,
    draft: ModelFacts | None = None,
    plan: LoadPlan | None = None,
    *,
    machine: Machine | None = None,
    guardrail: str = "relaxed",
) -> Estimate:
    """The estimate, or `MemoryLimitError` with the numbers and the nearest setting that fits. Guardrail off: always
    the estimate."""
    made = estimate(main, draft, plan, machine=machine, guardrail=guardrail)
    if guardrail == "off" or made.fits:
        return made
    short_of_video = made.in_ram <= made.machine.ram * (1 - _LEFT_FREE[guardrail])
    needed, free = (made.on_gpu, made.machine.video) if short_of_video else (made.in_ram, made.machine.ram)
    names = (main.path.name, draft.path.name) if draft is not None else (main.path.name,)
    code = "video_memory_short" if short_of_video else "memory_short"
    short = Reason(code, {"models": names, "needed": needed, "free": free})
    raise MemoryLimitError(
        sentences(short, Reason("memory_strict") if guardrail == "strict" else None),
        path=str(main.path),
        hint=nearest_fit(main, draft, made) or Reason("hint_smaller_model"),
        needed=needed,
        free=free,
    )


def nearest_fit(main: ModelFacts, draft: ModelFacts | None, failed: Estimate) -> Reason | None:
    """The mildest change of the plan that fits, as options of the command line; None if none does."""

    def fits(plan: LoadPlan, with_draft: ModelFacts | None) -> bool:
        return estimate(main, with_draft, plan, machine=failed.machine, guardrail=failed.guardrail).fits

    for words, plan, with_draft in _changes(main, draft, failed.plan, failed.context, fits):
        if fits(plan, with_draft):
            return Reason("hint_this_fits", {"options": words})
    return None


def _changes(
    main: ModelFacts,
    draft: ModelFacts | None,
    plan: LoadPlan,
    context: int,
    fits: Callable[[LoadPlan, ModelFacts | None], bool],
) -> Iterator[tuple[str, LoadPlan, ModelFacts | None]]:
    """Changes from mild to hard: coarser KV cache, shorter context, fewer layers on the GPU, no draft, all of these."""
    small = replace(plan, kv_type="q8_0", context=context)
    if plan.kv_type in ("f16", "f32", "bf16"):
        yield "--kv-type q8_0", small, draft
    drafts = ((draft, ""), (None, " --draft off")) if draft is not None else ((None, ""),)
    for with_draft, words in drafts:
        if words:
            yield words.strip(), replace(plan, context=context), None
        for base, more in ((replace(plan, context=context), ""), (small, " --kv-type q8_0")):
            shorter = _largest_context(base, context, partial(_with_draft, fits, with_draft))
            if shorter:
                yield f"--context {shorter}{more}{words}", replace(base, context=shorter), with_draft
            n_layers = len(main.weights.layers)
            for layers in range(n_layers - 1, -1, -1):
                fewer = replace(base, gpu_layers=layers)
                if plan.gpu_layers != layers and fits(fewer, with_draft):
                    yield f"--gpu-layers {layers}{more}{words}", fewer, with_draft
                    break


def _with_draft(fits: Callable[[LoadPlan, ModelFacts | None], bool], draft: ModelFacts | None, plan: LoadPlan) -> bool:
    return fits(plan, draft)


def _largest_context(plan: LoadPlan, context: int, fits: Callable[[LoadPlan], bool]) -> int:
    """The longest context, in steps of 256 from 512 on, that fits; 0 if none does."""
    low, high = 0, (context - 1) // 256
    while low < high:
        middle = (low + high + 1) // 2
        if fits(replace(plan, context=middle * 256)):
            low = middle
        else:
            high = middle - 1
    return low * 256 if low * 256 >= _LEAST_CONTEXT else 0


def _video() -> tuple[int, int]:
    """Free and total bytes of the GPU with the most free memory; zeros without one. NVIDIA's own library is asked
    first: it answers without taking memory of the GPU itself."""
    with contextlib.suppress(Exception):  # no driver, no library, no device: all mean that there is none to use
        import pynvml

        pynvml.nvmlInit()
        try:
            found = [
                pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index))
                for index in range(pynvml.nvmlDeviceGetCount())
            ]
        finally:
            pynvml.nvmlShutdown()
        if found:
            best = max(found, key=lambda memory: memory.free)
            return int(best.free), int(best.total)
    from foredraft.engines.llamacpp.devices import built_for_gpus, devices

    if built_for_gpus():
        there = max(devices(), key=lambda device: device.free, default=None)
        if there is not None and not there.shared:
            return there.free, there.total
    return 0, 0
