"""The estimate of a load: against what the engine takes, and what it says when there is not enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from foredraft.core.errors import MemoryLimitError
from foredraft.models.facts import ModelFacts, Shape, Weights, read_facts
from foredraft.models.memory import LoadPlan, Machine, estimate, kv_bytes, memory_check, need, require_fit, this_machine
from tests.models.gguf_bytes import model, write

GB = 10**9
ROOMY = Machine(1000 * GB, 1000 * GB)


@pytest.fixture
def eight_b(tmp_path: Path) -> ModelFacts:
    """The sizes of Llama 3.1 8B as Q4_K_M."""
    facts = read_facts(write(tmp_path / "8b.gguf", model()))
    shape = Shape(32, 4096, 14336, 32, (8,) * 32, 128, 128)
    weights = Weights(4_900_000_000, 300_000_000, 430_000_000, (130_000_000,) * 32)
    return replace(facts, n_params=8 * GB, n_active=8 * GB, n_ctx_train=131_072, shape=shape, weights=weights)


@pytest.fixture
def one_b(eight_b: ModelFacts) -> ModelFacts:
    shape = Shape(16, 2048, 8192, 32, (8,) * 16, 64, 64)
    weights = Weights(1_300_000_000, 280_000_000, 0, (64_000_000,) * 16)
    return replace(eight_b, n_params=GB, n_active=GB, shape=shape, weights=weights)


@pytest.mark.parametrize(("kv_type", "flash"), [("f16", "auto"), ("q8_0", "auto"), ("f16", "off")])
@pytest.mark.parametrize("tokens", [512, 2048])
def test_the_estimate_is_near_what_the_library_takes(
    chat_pair: tuple[Path, Path], tokens: int, kv_type: str, flash: str
) -> None:
    """Weights, KV and scratch against the library's own sums; what it does not report is `overhead`."""
    from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions

    plan = LoadPlan(context=tokens, kv_type=kv_type, flash_attention=flash)
    said_total = taken_total = 0
    for path in chat_pair:
        said = need(read_facts(path), plan, tokens)
        options = LoadOptions(n_ctx=tokens, kv_type=kv_type, flash_attention=flash, probe=False, n_threads=1)
        engine = LlamaCppEngine(path, options)
        taken = engine.memory
        engine.close()
        assert said.kv == pytest.approx(taken.kv, rel=0.01, abs=11_000)  # it reports hundredths of a MiB
        assert said.weights == pytest.approx(taken.weights, rel=0.02)
        said_total += said.weights + said.kv + said.compute
        taken_total += taken.total
    assert 0.95 * taken_total <= said_total <= 1.2 * taken_total


def test_the_draft_and_both_caches_count(eight_b: ModelFacts, one_b: ModelFacts) -> None:
    alone = estimate(eight_b, None, LoadPlan(context=8192), machine=ROOMY)
    pair = estimate(eight_b, one_b, LoadPlan(context=8192), machine=ROOMY)
    assert alone.main.kv == 8192 * 32 * 8 * 256 * 2
    assert pair.draft is not None
    assert pair.draft.kv == 8192 * 16 * 8 * 128 * 2
    assert pair.total == alone.total + pair.draft.total
    assert pair.fits
    assert pair.as_json()["draft"]["kv"] == pair.draft.kv  # type: ignore[index]


def test_more_of_anything_needs_more(eight_b: ModelFacts) -> None:
    base = estimate(eight_b, None, LoadPlan(context=4096), machine=ROOMY).total
    assert estimate(eight_b, None, LoadPlan(context=8192), machine=ROOMY).total > base
    assert estimate(eight_b, None, LoadPlan(context=4096, slots=32), machine=ROOMY).total > base
    assert estimate(eight_b, None, LoadPlan(context=4096, kv_type="f32"), machine=ROOMY).total > base
    assert estimate(eight_b, None, LoadPlan(context=4096, kv_type="q8_0"), machine=ROOMY).total < base


def test_cells_are_rounded_up_and_the_default_context_is_the_engines(eight_b: ModelFacts) -> None:
    assert kv_bytes(eight_b, 257, "f16") == kv_bytes(eight_b, 512, "f16")
    assert estimate(eight_b, machine=ROOMY).context == 8192
    assert estimate(replace(eight_b, n_ctx_train=1024), machine=ROOMY).context == 1024


def test_layers_on_the_gpu(eight_b: ModelFacts) -> None:
    machine = Machine(64 * GB, 64 * GB, 24 * GB, 24 * GB)
    everything = estimate(eight_b, None, LoadPlan(context=8192), machine=machine)
    half = estimate(eight_b, None, LoadPlan(context=8192, gpu_layers=16), machine=machine)
    nothing = estimate(eight_b, None, LoadPlan(context=8192, gpu_layers=0), machine=machine)
    assert everything.on_gpu > half.on_gpu > nothing.on_gpu == 0
    assert everything.total == half.total == nothing.total
    assert half.on_gpu == pytest.approx(16 * 130_000_000 + everything.main.kv / 2 + everything.main.compute, rel=0.01)
    without = estimate(eight_b, None, LoadPlan(context=8192), machine=ROOMY)
    assert without.on_gpu == 0  # no GPU: nothing lies there, whatever was asked for


def refused(
    main: ModelFacts, draft: ModelFacts | None, plan: LoadPlan, machine: Machine, rail: str = "relaxed"
) -> MemoryLimitError:
    with pytest.raises(MemoryLimitError) as raised:
        require_fit(main, draft, plan, machine=machine, guardrail=rail)
    return raised.value


@pytest.mark.parametrize(
    ("ram", "tokens", "hint"),
    [
        (11.5, 32_768, "--kv-type q8_0"),
        (8.0, 32_768, "--context "),
        (6.2, 8192, "--draft off"),
        (5.5, 32_768, "--draft off"),
        (3.0, 8192, "smaller model"),
    ],
)
def test_refusals_name_the_numbers_and_the_nearest_setting_that_fits(
    eight_b: ModelFacts, one_b: ModelFacts, ram: float, tokens: int, hint: str
) -> None:
    machine = Machine(int(ram * GB), 64 * GB)
    error = refused(eight_b, one_b, LoadPlan(context=tokens), machine)
    assert hint in error.hint
    assert f"{ram:.1f} GB are free" in error.message
    assert error.needed > error.free == machine.ram


def test_what_the_hint_says_does_fit(eight_b: ModelFacts, one_b: ModelFacts) -> None:
    machine = Machine(8 * GB, 64 * GB)
    words = refused(eight_b, one_b, LoadPlan(context=32_768), machine).hint
    shorter = int(words.split("--context ")[1].split()[0].rstrip("."))
    assert require_fit(eight_b, one_b, LoadPlan(context=shorter), machine=machine).fits
    with pytest.raises(MemoryLimitError):
        require_fit(eight_b, one_b, LoadPlan(context=shorter + 256), machine=machine)


def test_fewer_layers_are_offered_where_the_gpu_is_short(eight_b: ModelFacts) -> None:
    machine = Machine(64 * GB, 64 * GB, 4 * GB, 4 * GB)
    error = refused(eight_b, None, LoadPlan(context=4096), machine)
    assert "of video memory" in error.message
    layers = int(error.hint.split("--gpu-layers ")[1].split()[0].rstrip("."))
    assert require_fit(eight_b, None, LoadPlan(context=4096, gpu_layers=layers), machine=machine).fits


def test_guardrails(eight_b: ModelFacts) -> None:
    total = estimate(eight_b, None, LoadPlan(context=4096), machine=ROOMY).total
    tight = Machine(round(total * 1.1), 64 * GB)
    assert require_fit(eight_b, None, LoadPlan(context=4096), machine=tight).fits
    assert "a fifth" in refused(eight_b, None, LoadPlan(context=4096), tight, "strict").message
    tiny = Machine(1, 1)
    assert not require_fit(eight_b, None, LoadPlan(context=4096), machine=tiny, guardrail="off").fits


def test_the_check_for_pairing_gives_what_is_short(eight_b: ModelFacts, one_b: ModelFacts) -> None:
    needed, free = memory_check(LoadPlan(context=4096), machine=Machine(5 * GB, 8 * GB))(eight_b, one_b)
    assert needed > free == 5 * GB
    machine = Machine(64 * GB, 64 * GB, 2 * GB, 8 * GB)
    assert memory_check(LoadPlan(context=4096), machine=machine)(eight_b, one_b)[1] == 2 * GB


def test_this_machine_has_memory() -> None:
    machine = this_machine()
    assert 0 < machine.ram <= machine.ram_total
