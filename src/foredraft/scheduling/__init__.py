"""Many requests, one model: who reads and writes in the next pass, and how tokens become text."""
