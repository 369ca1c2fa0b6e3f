"""Who guesses: one file a source. To add one, write it and add a line here; the contract tests find it."""

from foredraft.speculative.drafters.arbiter import Arbiter
from foredraft.speculative.drafters.base import Drafter
from foredraft.speculative.drafters.model import ModelDrafter
from foredraft.speculative.drafters.none import NoDrafter

__all__ = ["DRAFTERS", "Arbiter", "Drafter", "ModelDrafter", "NoDrafter"]

DRAFTERS: dict[str, type[Drafter]] = {
    "auto": Arbiter,
    "none": NoDrafter,
    "model": ModelDrafter,
}
