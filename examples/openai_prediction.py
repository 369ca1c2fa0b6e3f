"""Predicted output: a text that the answer will repeat mostly is a draft that costs nothing."""

import os
from typing import Any

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("FOREDRAFT_URL", "http://127.0.0.1:3673") + "/v1", api_key="none")
ask: dict[str, Any] = {
    "model": "default",
    "messages": [{"role": "user", "content": "Count from 1 to 20."}],
    "max_tokens": 80,
    "seed": 1,
}
first = client.chat.completions.create(**ask)
again = client.chat.completions.create(
    **ask, prediction={"type": "content", "content": first.choices[0].message.content}
)
details = again.usage.completion_tokens_details
print("the same text:", again.choices[0].message.content == first.choices[0].message.content)
print(f"draft tokens accepted: {details.accepted_prediction_tokens}, rejected: {details.rejected_prediction_tokens}")
