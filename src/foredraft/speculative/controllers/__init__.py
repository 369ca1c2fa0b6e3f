"""Draft controllers: how far to look ahead, one file a controller. To add one, write it and add a line to
`core/tables.py`; the contract tests find it."""

from collections.abc import Callable

from foredraft.core import tables
from foredraft.core.registry import Registry
from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.adaptive.acceptance import Calibration
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.base import DraftController, LookAhead
from foredraft.speculative.controllers.fixed import Fixed
from foredraft.speculative.controllers.throttled import Throttled

__all__ = ["CONTROLLERS", "Adaptive", "DraftController", "Fixed", "LookAhead", "Throttled", "throttled_adaptive"]

CONTROLLERS: Registry[Callable[..., DraftController]] = tables.CONTROLLERS
"""By name; all can be made without arguments."""


def throttled_adaptive(
    costs: CostModel | None = None, calibration: Calibration | None = None, promise: str = "standard"
) -> Throttled:
    """The adaptive controller as a pair is loaded with it: deciding takes a hundredth of the time at most."""
    return Throttled(Adaptive(costs, calibration, promise=promise))
