"""Who judges: one file a rule. To add one, write it and add a line here; the contract tests find it."""

from foredraft.speculative.acceptance.base import AcceptanceRule
from foredraft.speculative.acceptance.match import Match

RULES: dict[str, type[AcceptanceRule]] = {
    "match": Match,
}
