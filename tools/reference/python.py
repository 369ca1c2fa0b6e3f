"""docs/reference/python.md: the public names of `foredraft`, from their signatures and docstrings."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import foredraft
from tools.reference.markdown import code, table

INTRODUCTION = """# Python

Everything that `import foredraft` offers. [Getting started](../getting-started.md#from-python) has a first example.

"""


def page() -> str:
    parts = [INTRODUCTION]
    for name in foredraft.__all__:
        thing = getattr(foredraft, name)
        if inspect.isclass(thing):
            parts.append(_class(name, thing))
        elif callable(thing):
            parts.append(f"## {name}\n\n{_signature(name, thing)}\n{_doc(thing)}\n")
    return "\n".join(parts)


def _class(name: str, kind: type) -> str:
    parts = [f"## {name}\n"]
    if not issubclass(kind, BaseException):
        if "__init__" in vars(kind) and not dataclasses.is_dataclass(kind):
            parts.append(_signature(name, kind))
        elif dataclasses.is_dataclass(kind):
            parts.append(_dataclass_signature(name, kind))
    parts.append(f"{_doc(kind)}\n")
    rows = [(code(field), *about) for field, about in _attributes(kind).items() if not field.startswith("_")]
    parts.append(table(("attribute", "type", "default", "what"), rows))
    for member, value in _members(kind):
        if isinstance(value, property):
            parts.append(
                f"### {name}.{member}\n\n{code(_words(inspect.signature(value.fget or str).return_annotation))}\n"
            )
            parts.append(f"{_doc(value)}\n" if value.__doc__ else "")
        else:
            parts.append(f"### {name}.{member}\n\n{_signature(member, getattr(kind, member))}\n{_doc(value)}\n")
    return "\n".join(part for part in parts if part)


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Its own, and those of its bases that have no page of theirs."""
    told = set()
    for base in [base for base in kind.__mro__ if base is kind or base.__name__ not in foredraft.__all__]:
        for name, value in vars(base).items() if base.__module__.startswith("foredraft.") else ():
            is_method = isinstance(value, (classmethod, staticmethod, property)) or inspect.isfunction(value)
            if not name.startswith("_") and is_method and name not in told:
                told.add(name)
                yield name, value


def _signature(name: str, thing: Any) -> str:
    signature = inspect.signature(thing)
    parts = [_parameter(p) for p in signature.parameters.values() if p.name not in ("self", "cls")]
    names = [p.kind for p in signature.parameters.values() if p.name not in ("self", "cls")]
    if inspect.Parameter.KEYWORD_ONLY in names and inspect.Parameter.VAR_POSITIONAL not in names:
        parts.insert(names.index(inspect.Parameter.KEYWORD_ONLY), "*")
    gives = signature.return_annotation
    behind = "" if gives in (inspect.Signature.empty, "None", None) else f" -> {_words(gives)}"
    shown = f"{name}({', '.join(parts)}){behind}"
    if len(shown) > 100:
        shown = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){behind}"
    return f"```python\n{shown}\n```\n"


def _parameter(parameter: inspect.Parameter) -> str:
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    shown = f"{stars.get(parameter.kind, '')}{parameter.name}"
    typed = parameter.annotation is not inspect.Parameter.empty
    if typed:
        shown += f": {_words(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        default = repr(parameter.default)
        shown += f"{' = ' if typed else '='}{'…' if ' at 0x' in default else default}"
    return shown


def _words(annotation: Any) -> str:
    return str(annotation) if isinstance(annotation, str) else str(inspect.formatannotation(annotation))


def _dataclass_signature(name: str, kind: Any) -> str:
    fields = [field.name for field in dataclasses.fields(kind) if field.init and not field.name.startswith("_")]
    shown = textwrap.fill(f"{name}({', '.join(fields)})", 100, subsequent_indent="    ")
    return f"```python\n{shown}\n```\n"


def _attributes(kind: type) -> dict[str, tuple[str, str, str]]:
    """(type, default, docstring behind it) of what is declared in a class's body."""
    found: dict[str, tuple[str, str, str]] = {}
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError):
        return found
    assert isinstance(body, ast.ClassDef)
    for statement, behind in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        said = ""
        if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant):
            said = inspect.cleandoc(str(behind.value.value))
        default = ast.unparse(statement.value) if statement.value is not None else ""
        shown = re.sub(r"field\(default_factory=(\w+)\)", r"\1()", default)
        found[statement.target.id] = (code(ast.unparse(statement.annotation)), code(shown), said)
    return found


def _doc(thing: Any) -> str:
    return _indented_code(inspect.cleandoc(thing.__doc__ or ""))


def _indented_code(text: str) -> str:
    """Indented examples as blocks of Python."""
    return re.sub(
        r"(?m)(?:^ {4}.*\n?(?:\n(?= {4}))*)+",
        lambda block: f"```python\n{textwrap.dedent(block[0]).rstrip()}\n```\n",
        text,
    )
