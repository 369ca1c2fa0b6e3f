"""Grammars of requests: a JSON schema, a set of tools; and each loaded model's vocabulary as grammars read it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from foredraft.engines.base import Tokenizer
from foredraft.formats.entries import Form
from foredraft.formats.forcing import calls_grammar, thought_rules
from foredraft.pair.llm import LLM
from foredraft.runtime.runtime import Runtime
from foredraft.sampling.constraints import GrammarVocabulary, json_grammar, json_rule, lark_grammar
from foredraft.sampling.schema_taken import left_out
from foredraft.server.lenient import MOST
from foredraft.server.pools import Pool

_SLICE = 4096
"""Pieces read between two passes of the model thread, so that running answers do not wait for all of them."""


class Vocabularies:
    """Made when a model is first asked for a grammar, kept while it is loaded."""

    def __init__(self, runtime: Runtime, pool: Pool) -> None:
        self._runtime = runtime
        self._pool = pool
        self._made: WeakKeyDictionary[LLM, GrammarVocabulary] = WeakKeyDictionary()
        self._lock = asyncio.Lock()

    async def of(self, model_id: str, model: LLM) -> GrammarVocabulary:
        async with self._lock:
            made = self._made.get(model)
            if made is None:
                tokenizer = model.engine.tokenizer
                pieces: list[bytes] = []
                while len(pieces) < tokenizer.n_vocab:
                    last = min(len(pieces) + _SLICE, tokenizer.n_vocab)
                    wanted = range(len(pieces), last)
                    pieces += await self._runtime.call(model_id, partial(_pieces, tokenizer, wanted))
                made = await self._pool.run(GrammarVocabulary, pieces, tokenizer.eog, tokenizer)
                self._made[model] = made
            return made


def _pieces(tokenizer: Tokenizer, tokens: range, _: object) -> list[bytes]:
    return [tokenizer.piece(token) for token in tokens]


def schema_grammar(schema: Mapping[str, Any] | bool | None, *, thinking: bool, form: Form | None = None) -> str:
    """JSON by a schema (None: any object), after the end of the thinking where the prompt has begun one."""
    if not thinking:
        return json_grammar(schema)
    json_grammar(schema)  # words the fault of a bad schema
    return lark_grammar(
        f"start: thought answer\n{thought_rules(form)}"
        f"answer: {json_rule({'type': 'object'} if schema is None else schema)}\n"
    )


def tools_grammar(tools: Sequence[Mapping[str, Any]], form: Form, *, several: bool, thinking: bool) -> str:
    """One call (or several) of the given tools, as the model's template writes them."""
    whole = [_whole(tool) for tool in tools]
    return lark_grammar(calls_grammar(whole, form, several=several, thinking=thinking))


def left_out_of(schemas: Mapping[str, Any]) -> list[str]:
    """What of some schemas grammars do not keep, with their names as the beginning of the path."""
    found = (sentence for name, schema in schemas.items() for sentence in left_out(schema, name))
    return list(islice(found, MOST))


def _whole(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool whose arguments are an object, also where its schema does not say so."""
    function, parameters = tool["function"], tool["function"].get("parameters")
    if not parameters:
        return tool
    given = {"type": "object", **parameters}
    if given.get("properties") == {}:
        given.setdefault("additionalProperties", False)
    return {**tool, "function": {**function, "parameters": given}}
