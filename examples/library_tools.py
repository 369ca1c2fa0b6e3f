"""Let the model call a Python function, and give it the result."""

from typing import Literal

from foredraft import LLM


def temperature(unit: Literal["C", "F"]) -> str:
    """How warm it is now."""
    return f"21 °{unit}"


functions = {function.__name__: function for function in (temperature,)}
talk = [{"role": "user", "content": "How warm is it?"}]

with LLM.load() as llm:
    # "required" makes it call; a model that was trained to call decides by itself with "auto", the default
    answer = llm.chat(talk, tools=list(functions.values()), tool_choice="required", seed=1, max_tokens=200).result
    talk.append(answer.message)
    for call in answer.tool_calls:
        result = functions[call.name](**call.arguments)
        print(f"{call.name}({call.arguments}) -> {result}")
        talk.append({"role": "tool", "tool_call_id": call.id, "content": result})
    print(llm.chat(talk, tools=list(functions.values()), seed=1, max_tokens=50).text)
