"""How far to look: one file a controller. To add one, write it and add a line here; the contract tests find it."""

from collections.abc import Callable

from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.base import DraftController, LookAhead
from foredraft.speculative.controllers.fixed import Fixed

__all__ = ["CONTROLLERS", "Adaptive", "DraftController", "Fixed", "LookAhead"]

CONTROLLERS: dict[str, Callable[[], DraftController]] = {
    "adaptive": Adaptive,
    "fixed": Fixed,
}
