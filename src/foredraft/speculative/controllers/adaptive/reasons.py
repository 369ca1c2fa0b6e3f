"""Words for what the adaptive controller does, by code."""

from __future__ import annotations

_WORDS = {
    "look_ahead_0": "The look-ahead is set to 0.",
    "request_off": "Speculation is switched off for this request.",
    "nothing_written": "Nothing has been written yet.",
    "guessing": "Guessing {depth:.1f} tokens a round; {speed:.2f} tokens in the time of a plain step.",
    "budget": "A guess could cost {cost:.2f} plain steps here, and only {credit:.2f} may be risked now: the promise is "
    "at most {epsilon:.1f} % lost.",
    "nothing_found": "Nothing that would be worth guessing was found in the text lately.",
    "cannot_pay": "Guesses cannot pay here, not even if all of them stood: drafting and reading one costs {cost:.0f} % "
    "of a plain step.",
    "costs_more": "Guesses cost more than they are expected to bring here: {stand:.0f} % of the draft's tokens stand, "
    "and one costs {cost:.0f} % of a plain step. Next try in at most {wait} tokens.",
    "costs_more_unknown": "Guesses cost more than they are expected to bring here: nothing is known yet, and one costs "
    "{cost:.0f} % of a plain step. Next try in at most {wait} tokens.",
    "hopeless": "drafting and reading one guess costs {cost:.0f} % of a plain step",
}


def words(code: str, **numbers: float) -> str:
    """A reason in English."""
    return _WORDS[code].format(**numbers)
