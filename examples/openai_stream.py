"""Stream an answer with OpenAI's own package; the last chunks say what the draft did."""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("FOREDRAFT_URL", "http://127.0.0.1:3673") + "/v1", api_key="none")
stream = client.chat.completions.create(
    model="default",
    messages=[{"role": "user", "content": "Count from 1 to 20."}],
    max_tokens=100,
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
    if hasattr(chunk, "stats"):
        said = chunk.stats
        print(f"\n{said['tokens_per_second']:.0f} tokens/s, speculation {said['speculation']['status']}")
    if chunk.usage:
        details = chunk.usage.completion_tokens_details
        assert details is not None, "the server counts them"
        print(f"{details.accepted_prediction_tokens} of {chunk.usage.completion_tokens} tokens were guessed right")
