"""The heart: draft, verify, accept, rewind.

`round.py` is the algorithm; the three folders beside it are its choices: who guesses, who judges, how far to look.
"""
