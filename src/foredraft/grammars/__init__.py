"""Grammars of answers, by llguidance: the adapter of `sampling.Constraint`, its limits, and the trial in a child."""
