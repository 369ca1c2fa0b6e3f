"""A runtime and a shelf by decree, for building pages without models."""

from dataclasses import replace
from pathlib import Path

from nicegui.testing.user_interaction import UserInteraction

from foredraft.core.errors import IncompatibleDraftError
from foredraft.core.reasons import Reason
from foredraft.engines.base import ModelInfo
from foredraft.models.pairing import NOT_USABLE, RECOMMENDED, WORKS, Pairing
from foredraft.models.store import ModelFile
from foredraft.runtime.managed_model import LoadSpec, ModelState
from foredraft.scheduling.request import SpeculationStatus


def info(name, params=14_000_000_000):
    path = f"/models/{name}.gguf"
    return ModelInfo(name, path, "llama", "", params, 600_000_000, "Q4_K_M", 32000, 8192, 8192, 1, 512)


def press(user, text):
    """Click what has this text, or what it stands in (the simulated click does not rise by itself)."""
    for found in user.find(text).elements:
        element = found
        while element is not None:
            if any(listener.type == "click" for listener in element._event_listeners.values()):
                UserInteraction(user, {element}, None).click()
                return
            element = element.parent_slot.parent if element.parent_slot else None
    raise AssertionError(f"nothing to click at {text!r}")


async def sees(user, words):
    """Wait until the words are on the page: what comes from another thread takes its time on a busy machine."""
    await user.should_see(words, retries=200)


class FakeRuntime:
    """Loaded models by decree."""

    def __init__(self, *states):
        self.states = list(states)
        self.drafts = []
        self.devices = []
        self.refuse = False
        self.loads = []
        self.fail = None

    async def load(self, spec):
        self.loads.append(spec)
        if self.fail is not None:
            raise self.fail
        return spec.id

    async def unload(self, model_id, *, cancel=True):
        self.states = [state for state in self.states if state.id != model_id]

    def models(self):
        return self.states

    def state(self, model_id):
        return next((state for state in self.states if state.id == model_id), None)

    async def set_draft(self, model_id, draft, *, required=False, force=False, device=None):
        self.drafts.append(draft)
        self.devices.append(device)
        if self.refuse:
            raise IncompatibleDraftError(Reason("vocab_size", {"a": 3, "b": 4}))
        self.states[0] = replace(self.states[0], draft_info=info(Path(draft).stem) if draft else None)
        return self.states[0]


class FakeStore:
    """A shelf with verdicts by decree: (name, level, words)."""

    def __init__(self, *drafts, main="Main"):
        self.main = ModelFile(main, Path(f"/models/{main}.gguf"), "folder", "", 9_000_000_000, None)
        self.verdicts = drafts
        self.speeds = {}

    def _file(self, name):
        return ModelFile(name, Path(f"/models/{name}.gguf"), "folder", "", 600_000_000, None)

    def models(self):
        return [self.main, *(self._file(name) for name, _, _ in self.verdicts)]

    def find(self, path):
        return next(model for model in self.models() if model.path == Path(path))

    def drafts(self, main, memory=None):
        return [
            (self._file(name), Pairing(level, level != NOT_USABLE, Reason("said", {"text": words})))
            for name, level, words in self.verdicts
        ]

    def measured(self, main, draft):
        return self.speeds.get(draft.name)


LOADED = ModelState("Main", LoadSpec("Main"), "ready", info=info("Main"), speculation=SpeculationStatus("off"))
SHELF = (
    ("Small 0.6B", RECOMMENDED, "Same tokenizer · 4% of the main model's size"),
    ("Middle 3B", WORKS, "Same tokenizer · 21% of the main model's size"),
    ("Foreign 1B", NOT_USABLE, "Different tokenizer: 128,256 tokens, the main model has 32,000"),
)
