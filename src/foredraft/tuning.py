"""What a pair needs to guess well: its sources, its controller, and what is learned about it between starts.

Costs (what a pass takes on this machine) and calibration (what gets accepted) are measured at the first load, corrected
in use, and kept in the user's cache folder under a key that changes with the files, the machine, the threads and the
library: another pair never sees them.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from foredraft.core.errors import ForedraftError
from foredraft.engines.base import Engine
from foredraft.scheduling.answer import Answer
from foredraft.speculative.controllers import Adaptive, DraftController, Fixed
from foredraft.speculative.controllers.calibration import Calibration
from foredraft.speculative.controllers.costs import CostModel
from foredraft.speculative.controllers.disk import Key
from foredraft.speculative.controllers.measure import measure
from foredraft.speculative.drafters import DRAFTERS, Arbiter, Drafter, ModelDrafter
from foredraft.speculative.drafters.suffix import SuffixDrafter, SuffixStore

FINDERS = ("grammar", "prediction", "suffix", "ngram")
"""Sources that find their guesses in texts and cost next to nothing, in order of preference among equals."""


@dataclass(slots=True)
class Tuning:
    """The drafter and the controller of one pair, and where their memory lies."""

    drafter: Drafter
    controller: DraftController
    folder: Path | None = None
    costs_key: Key = field(default_factory=dict)
    pair_key: Key = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    past: SuffixStore | None = None
    """Past answers on this machine, where the user asked to keep them."""

    def remember(self, answer: Answer) -> None:
        """Keep an answer that has ended, where answers are kept and its request allows it."""
        if self.past is not None and answer.request.speculation.remember:
            self.past.add(answer.tokens)

    def save(self) -> None:
        """Keep what was learned. Failing to is noted, never an error."""
        if isinstance(self.controller, Adaptive) and self.folder is not None:
            self.controller.costs.save(self.folder, self.costs_key)
            self.controller.calibration.save(self.folder, self.pair_key)
        if self.past is not None:
            try:
                self.past.save()
            except ForedraftError as error:
                self.notes.append(error.message)


def fixed(drafter: Drafter, gamma: int | None) -> Tuning:
    """Always the same look-ahead: for comparisons, and for those who want it so."""
    return Tuning(drafter, Fixed() if gamma is None else Fixed(gamma))


def adaptive(
    target: Engine,
    draft: ModelDrafter | None,
    *,
    promise: str = "standard",
    threads: int | None = None,
    kv_type: str = "f16",
    flash_attention: str = "auto",
    draft_device: str = "",
    ways: str = "",
    folder: Path | None = None,
    past_folder: Path | None = None,
) -> Tuning:
    """The sources of guesses for a main model, with a draft model or without, and the controller that weighs them.

    `ways` are the engine's own settings that decide what a pass costs (of its numerics). Measures what a pass costs
    unless that is known from an earlier start. `folder` None keeps nothing. `past_folder` keeps the answers themselves,
    to guess from later: off unless the user asks for it.
    """
    notes: list[str] = []
    engine = None if draft is None else draft.engine
    pair_key: Key = {"main": identity(target), "draft": None if engine is None else identity(engine)}
    costs_key: Key = {
        **pair_key,
        "machine": machine(),
        "threads": threads,
        "kv_type": kv_type,
        "flash_attention": flash_attention,
        "draft_device": draft_device,
        "ways": ways,
        "context": target.info.n_ctx,
        "library": library_version(),
    }
    costs = CostModel.load(folder, costs_key, notes)
    if costs is None:
        costs = measure(target, engine)
        costs.save(folder, costs_key)
        notes += costs.notes
    calibration = Calibration.load(folder, pair_key)
    notes += calibration.notes
    controller = Adaptive(costs, calibration, promise=promise)
    past = None
    if past_folder is not None:
        # Token ids mean something in one vocabulary only: the file is named after the model's.
        words = hashlib.sha256(
            "\0".join(map(target.tokenizer.text, range(target.info.n_vocab))).encode("utf-8", "replace")
        )
        name = words.hexdigest()[:16]
        past = SuffixStore(past_folder / f"{name}.txt", vocabulary=name)
        notes += [past.note] if past.note else []
        notes.append(f"Answers are kept in {past_folder}, on this machine only, to guess later ones from.")
    sources: list[Drafter] = [
        SuffixDrafter(store=past) if name == SuffixDrafter.name else DRAFTERS[name]() for name in FINDERS
    ]
    if draft is not None:
        draft.window = costs.window
        sources.append(draft)
    return Tuning(Arbiter(sources, on_park=controller.park), controller, folder, costs_key, pair_key, notes, past)


def identity(engine: Engine) -> str:
    """A file, as far as its costs and its words go: name, size and time of change."""
    path = Path(engine.info.path)
    try:
        stat = path.stat()
    except OSError:
        return f"{engine.info.name} {engine.info.size_bytes}"
    return f"{path.name} {stat.st_size} {stat.st_mtime_ns}"


def machine() -> str:
    """This computer, as far as a program is told."""
    return f"{platform.machine()} {platform.processor()} {platform.node()}"


def library_version() -> str:
    """Of llama.cpp's bindings; "" where they are not installed."""
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:
        return ""
