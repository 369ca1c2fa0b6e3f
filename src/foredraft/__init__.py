"""Foredraft: lossless speculative decoding for language models on your own machine."""

__version__ = "0.1.0"
