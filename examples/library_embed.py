"""Which text is nearest to a question: `python library_embed.py MODEL`, a path, a name, or owner/name of the hub."""

import sys

from foredraft import Embedder

texts = ["Cats sleep most of the day.", "The draft guesses, the main model checks.", "It rained in April."]
question = "Who checks the guesses?"

with Embedder.load(sys.argv[1] if len(sys.argv) > 1 else "nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0") as embedder:
    likeness = embedder.embed(texts) @ embedder.embed(question)  # vectors have length 1: this is the cosine
    best = int(likeness.argmax())
    print(f"nearest of {len(texts)} texts: {texts[best]} ({likeness[best]:.2f})")
