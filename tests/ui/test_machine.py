"""GPUs in the app: memory in the footer, where the draft runs; and nothing invented where there is none."""

import asyncio
from dataclasses import replace

import pytest
from nicegui import ui

from foredraft.engines.llamacpp.devices import Device
from foredraft.scheduling.request import SpeculationStatus
from foredraft.ui.machine import Machine
from foredraft.ui.panels.load_dialog import start_load
from foredraft.ui.state import DRAFT_DEVICE
from tests.ui.fakes import LOADED, info, sees

DRAFTED = replace(LOADED, draft_info=info("Small 0.6B", 600_000_000), speculation=SpeculationStatus("active"))
GPUS = [Device(0, "CUDA0", "NVIDIA One", 14_000_000_000, 24_000_000_000), Device(1, "CUDA1", "Two", 1, 8_000_000_000)]


def with_gpus(state, gpus=GPUS, *, built=True):
    state.machine = Machine(lambda: gpus, lambda: built)


def places(user):
    """The values of the list "Draft runs on", the chosen one in brackets."""
    for select in user.find(kind=ui.element).elements:
        if select.tag == "select":
            options = [child._props for child in select.default_slot.children]
            if any(option["value"] == "cpu" for option in options):
                return select, [f"[{o['value']}]" if o["selected"] else o["value"] for o in options]
    raise AssertionError("no such list")


async def test_the_footer_names_the_engine_and_its_gpus(app):
    async with app(DRAFTED) as (user, state):
        with_gpus(state, GPUS[:1])
        await user.open("/")
        await sees(user, "llama.cpp · CUDA")
        await sees(user, "VRAM 10.0 / 24.0 GB")
        with_gpus(state)
        await user.open("/")
        await sees(user, "VRAM 0 10.0 / 24.0 GB · VRAM 1 8.0 / 8.0 GB")


@pytest.mark.parametrize("shared", [[], [Device(0, "MTL0", "Apple M4", 5, 9, shared=True)]])
async def test_memory_that_is_the_machines_own_is_not_counted_twice(app, shared):
    async with app(DRAFTED) as (user, state):
        with_gpus(state, shared)
        await user.open("/")
        await sees(user, "RAM")
        await user.should_not_see("VRAM")
        await sees(user, "llama.cpp · MTL" if shared else "llama.cpp · CPU")


@pytest.mark.parametrize(
    ("built", "words"),
    [(False, "This build of llama.cpp has no GPU support"), (True, "The engine found no GPU on this machine.")],
)
async def test_with_one_place_to_run_it_is_told_with_the_reason(app, built, words):
    async with app(DRAFTED, mode="developer") as (user, state):
        with_gpus(state, [], built=built)
        await user.open("/")
        await sees(user, "Draft runs on")
        await sees(user, words)


async def test_the_draft_is_moved_without_loading_the_main_model_again(app):
    async with app(DRAFTED, mode="developer") as (user, state):
        with_gpus(state)
        await user.open("/")
        await sees(user, "GPU 1 · Two")
        select, shown = places(user)
        assert shown == ["[]", "gpu0", "gpu1", "cpu"]
        with user:
            for listener in select._event_listeners.values():
                select._handle_event({"listener_id": listener.id, "args": "cpu"})
        runtime = state.services.runtime
        while not runtime.devices:
            await asyncio.sleep(0)
        assert (runtime.drafts, runtime.devices) == (["/models/Small 0.6B.gguf"], ["cpu"])
        assert state.chats.preference(DRAFT_DEVICE) == "cpu"


async def test_a_model_loaded_later_has_its_draft_there_too(app):
    there = replace(DRAFTED, spec=replace(DRAFTED.spec, settings={"draft_device": "gpu1"}))
    async with app(there, mode="developer") as (user, state):
        with_gpus(state)
        state.chats.set_preference(DRAFT_DEVICE, "gpu1")
        await user.open("/")
        await sees(user, "Draft runs on")
        assert places(user)[1] == ["", "gpu0", "[gpu1]", "cpu"]
        start_load(state, state.shelf.models()[0])
        await asyncio.gather(*state.tasks)
        assert state.services.runtime.loads[0].settings["draft_device"] == "gpu1"


def test_the_library_is_not_asked_at_every_look():
    asked = []
    machine = Machine(lambda: asked.append(1) or GPUS, lambda: True)
    assert machine.gpus() == machine.gpus() == GPUS
    assert machine.backend == "CUDA"
    assert len(asked) == 1
