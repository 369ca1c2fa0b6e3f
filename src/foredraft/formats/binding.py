"""The form of a loaded model: its template's, with the control tokens that its vocabulary has."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from foredraft.core.errors import ParameterError
from foredraft.engines.base import Tokenizer
from foredraft.formats.entries import Form
from foredraft.formats.history import Abilities, abilities_of
from foredraft.formats.table import NAMES, form_of
from foredraft.models.template import ChatTemplate

_KEPT = 32
"""Forms of a vocabulary that are kept: requests may bring templates of their own."""


class Forms:
    """Forms of loaded models, and what their templates are able to: found out once."""

    def __init__(self) -> None:
        self._forms: WeakKeyDictionary[Tokenizer, dict[tuple[str, str], Form]] = WeakKeyDictionary()
        self._abilities: WeakKeyDictionary[ChatTemplate, Abilities] = WeakKeyDictionary()

    def of(self, tokenizer: Tokenizer, source: str, name: str = "") -> Form:
        """How answers are written, by a template's source or by the name of a form, with the control tokens that the
        vocabulary has. Raises `ParameterError` for a name that is none."""
        if name and name not in NAMES:
            raise ParameterError("tool_format", name, f"one of {', '.join(NAMES)}")
        bound = self._forms.setdefault(tokenizer, {})
        form = bound.get((source, name))
        if form is None:
            if len(bound) >= _KEPT:
                bound.clear()
            form = form_of(source, name)
            form = bound[source, name] = form.bound(control_tokens(tokenizer, form.texts()))
        return form

    def abilities(self, template: ChatTemplate) -> Abilities:
        """What a template does with calls."""
        found = self._abilities.get(template)
        if found is None:
            found = self._abilities[template] = abilities_of(template)
        return found


def opens_thinking(prompt: str, form: Form) -> bool:
    """Whether a prompt ends inside the model's thinking. The form may be a bound one."""
    end = prompt.rstrip()
    return any(end.endswith(kind.open.rstrip()) for kind in form.unbound().thinking if kind.open.strip())


def closed_thinking(prompt: str, form: Form) -> bool:
    """Whether a prompt ends behind thinking that it has closed."""
    end = prompt.rstrip()
    return any(end.endswith(kind.close.rstrip()) for kind in form.unbound().thinking)


def control_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, int]:
    """The control tokens that occur in some texts, by their names."""
    found: dict[str, int] = {}
    for text in texts:
        try:
            tokens = tokenizer.encode(text, add_special=False, parse_special=True)
        except ParameterError:  # a vocabulary that cannot spell it
            continue
        for token in tokens:
            if token in tokenizer.eog or not tokenizer.piece(token):
                name = tokenizer.piece(token, special=True).decode("utf-8", "replace")
                if name and name in text:
                    found[name] = token
    return found
