"""The shelf of GGUF files: what is there, what fits together, what a load will need."""
