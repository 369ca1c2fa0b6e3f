"""An answer that is JSON of a schema; what the schema prescribes is guessed for free."""

import json
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("FOREDRAFT_URL", "http://127.0.0.1:3673") + "/v1", api_key="none")
schema = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "inhabitants": {"type": "integer", "minimum": 0, "maximum": 40_000_000},
        "coast": {"type": "boolean"},
    },
    "required": ["city", "inhabitants", "coast"],
    "additionalProperties": False,
}
answer = client.chat.completions.create(
    model="default",
    messages=[{"role": "user", "content": "Describe a city as JSON."}],
    max_tokens=200,
    response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
)
city = json.loads(answer.choices[0].message.content or "")
print(city["city"], city["inhabitants"], city["coast"])
