"""Logits to distribution to token. Knows nothing of engines or speculation; numpy only."""
