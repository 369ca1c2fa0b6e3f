"""Let the model call a function, and give it the result."""

import json
import os
from typing import Any

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("FOREDRAFT_URL", "http://127.0.0.1:3673") + "/v1", api_key="none")
units: dict[str, Any] = {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}}, "required": ["unit"]}
units["additionalProperties"] = False
tools: Any = [{"type": "function", "function": {"name": "temperature", "parameters": units}}]
messages: Any = [{"role": "user", "content": "How warm is it?"}]

asked = client.chat.completions.create(
    model="default", messages=messages, tools=tools, tool_choice="required", parallel_tool_calls=False, max_tokens=100
)
call: Any = (asked.choices[0].message.tool_calls or [])[0]
unit = json.loads(call.function.arguments)["unit"]
print(f"The model calls {call.function.name}(unit={unit!r})")

messages += [asked.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": f"21 °{unit}"}]
answer = client.chat.completions.create(model="default", messages=messages, tools=tools, max_tokens=50)
print(answer.choices[0].message.content)
