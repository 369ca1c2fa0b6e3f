"""The lab: every kind of text both ways, there and back, kept for later; and honest about a busy machine."""

import pytest

from foredraft.chats import ChatStore
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.ui.app import app_state
from foredraft.ui.measuring import Measuring
from tests.server import toy
from tests.ui.fakes import LOADED, sees


@pytest.fixture
async def state():
    runtime = Runtime(toy.load)
    chats = ChatStore(None)
    made = app_state(Services(runtime, chats=chats))
    await runtime.load(LoadSpec("toy", id="toy"))
    yield made
    await runtime.close(0.0)
    chats.close()


async def test_a_run_measures_every_kind_both_ways_in_turns(state, monkeypatch):
    lab, turns = state.laboratory, []
    once = Measuring.once

    async def counted(self, model_id, prompt, *, enabled, **more):
        turns.append(enabled)
        return await once(self, model_id, prompt, enabled=enabled, **more)

    monkeypatch.setattr(Measuring, "once", counted)
    lab.start(state.loaded())
    await lab._task
    run = lab.current
    assert (run.state, run.share, run.error) == ("done", 1.0, "")
    assert len({row.category for row in run.rows}) == len(run.rows) > 3
    assert turns == [False, True, True, False] * len(run.rows)
    assert all(row.same and row.plain > 0 and row.drafted > 0 and row.accepted <= row.tested for row in run.rows)
    [kept] = lab.history()
    assert kept.rows == run.rows


async def test_a_stopped_run_keeps_what_it_has(state):
    lab = state.laboratory
    lab.hub.subscribe(lambda topic, _: lab.stop() if topic == "lab" else None)
    lab.start(state.loaded())
    await lab._task
    assert lab.current.state == "stopped"
    assert len(lab.current.rows) == 1
    assert not lab.busy


@pytest.mark.parametrize(("load", "told"), [(999.0, True), (0.0, False)])
async def test_a_busy_machine_is_told(app, monkeypatch, load, told):
    monkeypatch.setattr("psutil.getloadavg", lambda: (load, load, load))
    async with app(LOADED) as (user, _):
        await user.open("/lab")
        await sees(user, "Run the lab")
        if told:
            await sees(user, "speeds measured meanwhile are rough")
        else:
            await user.should_not_see("speeds measured meanwhile are rough")
