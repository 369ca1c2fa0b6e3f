"""Who judges: one file a rule. To add one, write it and add a line to `core/tables.py`; the contract tests find it."""

from foredraft.core import tables
from foredraft.core.registry import Registry
from foredraft.speculative.acceptance.base import AcceptanceRule
from foredraft.speculative.acceptance.block import Block
from foredraft.speculative.acceptance.match import Match
from foredraft.speculative.acceptance.rejection import Rejection

__all__ = ["RULES", "AcceptanceRule", "Block", "Match", "Rejection", "rule_of"]

RULES: Registry[type[AcceptanceRule]] = tables.RULES
"""By name."""


def rule_of(wish: str | AcceptanceRule | type[AcceptanceRule]) -> AcceptanceRule:
    """The rule of one answer: one that was named is made, and so is one of a class. Raises `ParameterError`."""
    part = RULES[wish] if isinstance(wish, str) else wish
    return part() if isinstance(part, type) else part
