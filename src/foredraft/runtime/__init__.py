"""Loaded models and the requests they answer: the model thread, loading and eviction, handles for async code."""
