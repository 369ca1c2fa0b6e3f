"""GGUF models through llama.cpp. Importing this package is cheap; the library itself loads with the first model."""

from foredraft.engines.llamacpp.embedding import LlamaCppEmbedder
from foredraft.engines.llamacpp.engine import LlamaCppEngine
from foredraft.engines.llamacpp.memory import MemoryUse
from foredraft.engines.llamacpp.options import LoadOptions
from foredraft.engines.llamacpp.quantise import quantise
from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer

__all__ = ["LlamaCppEmbedder", "LlamaCppEngine", "LlamaTokenizer", "LoadOptions", "MemoryUse", "quantise"]
