"""Models one can ask: the protocol (`base`), GGUF files (`llamacpp`), and an exact toy (`toy`)."""
