"""An engine in a process of its own: what ends llama.cpp (a fault, a file cut while it is mapped, the system's lack of
memory) then ends that process, and the program goes on. Rows of logits cross in shared memory, everything else in a few
bytes over a socket."""

from foredraft.engines.isolated.embedder import IsolatedEmbedder
from foredraft.engines.isolated.engine import IsolatedEngine

__all__ = ["IsolatedEmbedder", "IsolatedEngine"]
