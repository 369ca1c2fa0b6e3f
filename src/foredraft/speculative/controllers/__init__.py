"""How far to look: one file a controller. To add one, write it and add a line to `core/tables.py`; the contract tests
find it."""

from collections.abc import Callable

from foredraft.core import tables
from foredraft.core.registry import Registry
from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.base import DraftController, LookAhead
from foredraft.speculative.controllers.fixed import Fixed

__all__ = ["CONTROLLERS", "Adaptive", "DraftController", "Fixed", "LookAhead"]

CONTROLLERS: Registry[Callable[..., DraftController]] = tables.CONTROLLERS
"""By name; all can be made without arguments."""
