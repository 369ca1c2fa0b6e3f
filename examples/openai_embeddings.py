"""Which text is nearest to a question: one vector a text, from an embedding model on the shelf."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("FOREDRAFT_URL", "http://127.0.0.1:3673") + "/v1", api_key="none")
models = [model.id for model in client.models.list() if getattr(model, "type", "") == "embeddings"]
if not models:
    raise SystemExit("No embedding model: foredraft get nomic-ai/nomic-embed-text-v1.5-GGUF")
texts = ["Cats sleep most of the day.", "The draft guesses, the main model checks.", "It rained in April."]
question = "Who checks the guesses?"
*known, asked = (entry.embedding for entry in client.embeddings.create(model=models[0], input=[*texts, question]).data)
# All vectors have the length 1: their product is the cosine of the angle between them.
likeness = [sum(a * b for a, b in zip(vector, asked, strict=True)) for vector in known]
best = max(range(len(texts)), key=likeness.__getitem__)
print(f"nearest of {len(texts)} texts, by {models[0]}: {texts[best]} ({likeness[best]:.2f})")
