"""Who judges: one file a rule. To add one, write it and add a line here; the contract tests find it."""

from foredraft.speculative.acceptance.base import AcceptanceRule
from foredraft.speculative.acceptance.block import Block
from foredraft.speculative.acceptance.match import Match
from foredraft.speculative.acceptance.rejection import Rejection

__all__ = ["RULES", "AcceptanceRule", "Block", "Match", "Rejection"]

RULES: dict[str, type[AcceptanceRule]] = {
    "match": Match,
    "rejection": Rejection,
    "block": Block,
}
