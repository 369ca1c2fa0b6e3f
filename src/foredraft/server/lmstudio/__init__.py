"""LM Studio's REST: /api/v0 (older) and /api/v1 (current), with the draft where LM Studio has none."""
