"""Items to messages of the chat template, and a request to a question."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.warnings import note, noted
from foredraft.server.errors import RequestError
from foredraft.server.kept import Responses
from foredraft.server.openai.responses.tools import Toolbox, as_arguments, flat
from foredraft.server.openai.responses.types import Item, Part, ResponsesRequest, TextSettings
from foredraft.server.pipeline import ANY_JSON
from foredraft.server.schemas import effort, idle_seconds

LEFT_OUT = frozenset(
    {
        *("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
        *("computer_call", "computer_call_output", "tool_search_call", "tool_search_output"),
        *("mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response"),
        *("local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output"),
        *("apply_patch_call", "apply_patch_call_output", "program", "program_output"),
        *("configuration_update", "compaction_trigger"),
    }
)
"""Items of tools that are not served here. Those of a history are left out aloud: the conversation can go on."""
THINKING = "foredraft:"
"""Before the thinking in `encrypted_content`: no secret, but a way through clients that send nothing else back."""
NO_IMAGE = "[an image or a file, which cannot be read here]"
"""In the place of what a tool has given and no model here can read: refused, it would end the conversation for ever."""


@dataclass(slots=True)
class Turn:
    """One request, understood: what it asks, and what of it is kept."""

    question: GenerationRequest
    tools: Toolbox
    messages: list[dict[str, Any]]
    """Of this request alone."""
    input: Sequence[Item]
    """Its items."""
    id: str
    store: bool
    encrypted: bool = False
    """The client wants thinking as `encrypted_content`."""


async def understood(body: ResponsesRequest, kept: Responses) -> Turn:
    """What a request asks for. Raises what cannot be honoured."""
    for name, instead in (("conversation", "Use previous_response_id."), ("prompt", "Send its text as instructions.")):
        if getattr(body, name) is not None:
            raise RequestError(f"{name}: there are none here.", param=name, hint=instead)
    first, before = "", list[dict[str, Any]]()
    if body.previous_response_id is not None:
        first, before = await kept.conversation(body.previous_response_id)
    response_id, warnings = kept.new_id(), noted()
    for sentence in _ignored(body):
        note(sentence, warnings)
    if body.store and not kept.enabled:
        note("store: this server keeps no responses.", warnings)
    items = [Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    items = [await _resolved(item, f"input.{i}", kept) for i, item in enumerate(items)]
    tools = Toolbox(warnings)
    tools.add(body.tools or (), "tools")
    for i, item in enumerate(items):
        if item.kind == "additional_tools":
            tools.add(item.tools or (), f"input.{i}.tools")
    messages = messages_of(items, warnings)
    head = [{"role": "system", "content": body.instructions}] if body.instructions else []
    variables = effort(body.reasoning.effort) if body.reasoning is not None else {}
    choice = tools.choice(body.tool_choice)
    question = GenerationRequest(
        model=body.model,
        messages=_one_head([*head, *before, *messages]),
        sampling=body.sampling(),
        speculation=body.speculative.params(),
        draft=body.draft_model or "auto",
        draft_required=body.draft_required,
        max_tokens=body.max_output_tokens,
        schema=_schema(body.text),
        tools=tools.functions,
        tool_choice=choice,
        several_calls=body.parallel_tool_calls is not False,
        truncate=body.truncation == "auto",
        template_variables=variables or None,
        ttl_s=idle_seconds(body.ttl, None),
        session=first or response_id,
        warnings=warnings,
    )
    encrypted = "reasoning.encrypted_content" in (body.include or ())
    store = body.store is not False and kept.enabled
    return Turn(question, tools, messages, items, response_id, store, encrypted=encrypted)


def _ignored(body: ResponsesRequest) -> list[str]:
    """What is understood and has no effect here, a sentence each."""
    others = [name for name in body.include or () if name != "reasoning.encrypted_content"]
    said = [f"include: {name[:100]!r} is not given here, left out." for name in others]
    if body.background:
        said.append("background: the answer was written at once.")
    if body.service_tier not in (None, "auto", "default"):
        said.append(f"service_tier: there is only one here, {body.service_tier[:100]!r} is left out.")
    if body.top_logprobs:
        said.append("top_logprobs: given by /v1/chat/completions only, left out.")
    if body.text is not None and body.text.verbosity not in (None, "medium"):
        said.append("text.verbosity: local models are not trained on it, left out.")
    if body.reasoning is not None and (body.reasoning.summary or body.reasoning.generate_summary):
        said.append("reasoning.summary: thinking is sent whole, not summarised.")
    return said


async def _resolved(item: Item, place: str, kept: Responses) -> Item:
    """The item itself, for one that is named by its id."""
    if item.kind != "item_reference":
        return item
    found = await kept.with_item(item.id or "")
    for output in found.shown.get("output", ()) if found is not None else ():
        if output.get("id") == item.id:
            return Item.model_validate(output)
    raise RequestError(
        f"{place}: there is no item {str(item.id)[:200]!r} here.", param=f"{place}.id", hint="Send the item itself."
    )


def messages_of(items: Sequence[Item], warnings: list[str]) -> list[dict[str, Any]]:
    """Items as messages of the chat template. Thinking, text and calls that follow each other are one message, as one
    answer was. Raises `RequestError` for what cannot be read."""
    messages: list[dict[str, Any]] = []
    for i, item in enumerate(items):
        place = f"input.{i}"
        if item.kind == "reasoning":
            if text := _thinking(item, place, warnings):
                _answer(messages, fresh=True).setdefault("reasoning_content", []).append(text)
        elif item.kind in ("function_call", "custom_tool_call"):
            arguments = as_arguments(item.input or "") if item.kind == "custom_tool_call" else item.arguments or "{}"
            function = {"name": flat(item.name or "", item.namespace), "arguments": arguments}
            call = {"id": item.call_id or "", "type": "function", "function": function}
            _answer(messages).setdefault("tool_calls", []).append(call)
        elif item.kind in ("function_call_output", "custom_tool_call_output"):
            text = _text(item.output, f"{place}.output", warnings)
            messages.append({"role": "tool", "content": text, "tool_call_id": item.call_id or ""})
        elif item.kind == "message" and item.role is not None:
            text = _text(item.content, f"{place}.content")
            if item.role == "assistant":
                _answer(messages, fresh=True)["content"] = text
            else:
                messages.append({"role": "system" if item.role == "developer" else item.role, "content": text})
        elif item.kind in LEFT_OUT:
            note(f"{place}: items of the type {item.kind!r} are not read here, left out.", warnings)
        elif item.kind != "additional_tools":
            raise RequestError(f"Items of the type {item.kind!r} cannot be read.", param=f"{place}.type")
    for message in messages:
        if "reasoning_content" in message:  # joined once: there may be thousands of parts
            message["reasoning_content"] = "".join(message["reasoning_content"])
    return [message for message in messages if message["role"] != "assistant" or _says(message)]


def _answer(messages: list[dict[str, Any]], *, fresh: bool = False) -> dict[str, Any]:
    """The assistant's message that an item belongs to. `fresh`: one that has no text and no calls yet."""
    last = messages[-1] if messages else {}
    if last.get("role") != "assistant" or (fresh and (last["content"] or "tool_calls" in last)):
        last = {"role": "assistant", "content": ""}
        messages.append(last)
    return last


def _says(message: dict[str, Any]) -> bool:
    return bool(message["content"] or message.get("tool_calls"))


def _one_head(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with its instructions in one message: many templates take no second one."""
    n = 0
    while n < len(messages) and messages[n]["role"] == "system":
        n += 1
    if n < 2:
        return messages
    return [{"role": "system", "content": "\n\n".join(message["content"] for message in messages[:n])}, *messages[n:]]


def _thinking(item: Item, place: str, warnings: list[str]) -> str:
    if item.content:
        return item.content if isinstance(item.content, str) else "".join(part.text or "" for part in item.content)
    if item.encrypted_content:
        try:
            if item.encrypted_content.startswith(THINKING):
                return base64.b64decode(item.encrypted_content.removeprefix(THINKING), validate=True).decode("utf-8")
        except ValueError:  # not base64, not UTF-8
            pass
        note(f"{place}.encrypted_content: another server has made it, left out.", warnings)
    return "".join(part.text or "" for part in item.summary or ())


def sealed(thinking: str) -> str:
    """Thinking as `encrypted_content`."""
    return THINKING + base64.b64encode(thinking.encode("utf-8", "replace")).decode("ascii")


def _text(content: str | list[Part] | None, place: str, warnings: list[str] | None = None) -> str:
    """The text of some parts. Others are refused by their place, or with `warnings` named in the text."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for i, part in enumerate(content):
        text = part.text if part.text is not None else part.refusal
        if text is None and warnings is not None:
            note(f"{place}.{i}: content of the type {part.type!r} cannot be read, left out.", warnings)
            text = NO_IMAGE
        if text is None:
            raise RequestError(
                f"Content of the type {part.type!r} cannot be read; only text can.", param=f"{place}.{i}.type"
            )
        texts.append(text)
    return "".join(texts)


def _schema(text: TextSettings | None) -> Any:
    form = text.format if text is not None else None
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return ANY_JSON
    if form.schema_ is None:
        raise RequestError("The schema is missing.", param="text.format.schema")
    return form.schema_


_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}


def with_ids(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Items as they are given back: each with a type, an id, and content in parts. Of thousands it takes a while."""
    given = []
    drawn = secrets.token_hex(12 * len(items))
    for i, item in enumerate(items):
        kind = item.kind
        said = item.model_dump(exclude_none=True, exclude={"type", "id"})
        if kind == "message" and isinstance(item.content, str):
            part = "output_text" if item.role == "assistant" else "input_text"
            said["content"] = [{"type": part, "text": item.content}]
        given.append(
            {"id": item.id or f"{_PREFIXES.get(kind, 'item')}_{drawn[24 * i : 24 * i + 24]}", "type": kind, **said}
        )
    return given
