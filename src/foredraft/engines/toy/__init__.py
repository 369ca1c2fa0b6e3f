"""A public toy: an exact, table-driven language model for tests, documentation and work on the interface."""

from foredraft.engines.toy.engine import ToyClock, ToyEngine
from foredraft.engines.toy.file import open_toy
from foredraft.engines.toy.recurrent import RecurrentToy
from foredraft.engines.toy.tokenizer import ToyTokenizer

__all__ = ["RecurrentToy", "ToyClock", "ToyEngine", "ToyTokenizer", "open_toy"]
