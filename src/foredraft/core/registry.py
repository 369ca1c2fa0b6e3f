"""Parts that are chosen by name: those of a table, those added at run time, and those of other packages.

A part of a table stands there as "module:attribute" and is imported when it is first used, so that the names are known
without the cost. Another package offers a part as an entry point in the table's group:

    [project.entry-points."foredraft.drafters"]
    mine = "my_package:MyDrafter"

Entry points are looked for when a name is not in the table, or when all names are wanted. One that cannot be loaded is
said in `notes` and left out; nothing else fails for it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar, cast

from foredraft.core.errors import ParameterError
from foredraft.core.reasons import Reason, one_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A part of a table."""

    part: T | str
    """The part itself, or where it is: "module:attribute"."""
    kind: str = ""
    """What the table's users must know of it before it is loaded; each table says which kinds it has."""
    priority: int = 0
    """Where several are used together: the higher goes first."""
    help: str = ""
    """What it does, in a few English words, for `--help` and the API's schema."""
    files: tuple[str, ...] = ()
    """Ends of the names of files that it opens."""
    package: str = ""
    """The package that brought it; "" is Foredraft."""


class Registry(Mapping[str, T]):
    """A table of parts by name. As a mapping it loads the parts; `entries` does not."""

    def __init__(self, what: str, group: str, entries: Mapping[str, Entry[T]], *, kind: str = "") -> None:
        """`what` is the parameter that chooses among them. Entry points of `group` are of the kind `kind`."""
        self.what = what
        self.group = group
        self.notes: list[str] = []
        """Parts of other packages that could not be used, and why, in words."""
        self._kind = kind
        self._own = dict(entries)
        self._found: dict[str, Entry[T]] | None = None
        self._parts: dict[str, T] = {}

    # ---- looking ----

    @property
    def entries(self) -> Mapping[str, Entry[T]]:
        """All of them by name, those of other packages last."""
        return {**self._own, **self._others()}

    def names(self, *kinds: str) -> tuple[str, ...]:
        """The names of all, or of those of some kinds."""
        return tuple(name for name, entry in self.entries.items() if not kinds or entry.kind in kinds)

    def has(self, name: object, *kinds: str) -> bool:
        """Whether there is such a part. Other packages are looked at only where the table has none."""
        entry = self._own.get(cast(str, name)) or self._others().get(cast(str, name))
        return entry is not None and (not kinds or entry.kind in kinds)

    def __getitem__(self, name: str) -> T:
        """The part. Raises `KeyError` where there is none, `ParameterError` where it cannot be loaded."""
        if name not in self._parts:
            entry = self._own.get(name) or self._others()[name]
            try:
                self._parts[name] = _loaded(entry.part)
            except Exception as error:
                if not entry.package:
                    raise
                why = f"{type(error).__name__}: {error}"
                self._note(f"{self.what} {name} of the package {entry.package} could not be loaded: {why}.")
                raise ParameterError(self.what, name, Reason("allowed_loadable", {"why": str(why)})) from error
        return self._parts[name]

    def usable(self, *kinds: str) -> dict[str, T]:
        """The parts of some kinds, the highest priority first, without those that cannot be loaded (see `notes`)."""
        entries = self.entries
        found: dict[str, T] = {}
        for name in sorted(self.names(*kinds), key=lambda name: -entries[name].priority):
            with contextlib.suppress(ParameterError):
                found[name] = self[name]
        return found

    def __contains__(self, name: object) -> bool:
        return self.has(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def check(self, name: object, choices: tuple[str, ...] | None = None) -> None:
        """Raises `ParameterError` with the names there are, unless it is one of them."""
        if not self.has(name):
            raise ParameterError(self.what, name, one_of(choices or self.names()))

    # ---- adding ----

    def add(self, name: str, part: T | str | Entry[T]) -> None:
        """Add a part at run time; one of this name gives way."""
        self._own[name] = part if isinstance(part, Entry) else Entry(part, self._kind)
        self._parts.pop(name, None)

    def remove(self, name: str) -> None:
        """Take out a part that was added."""
        del self._own[name]
        self._parts.pop(name, None)

    def _others(self) -> dict[str, Entry[T]]:
        if self._found is None:
            from importlib.metadata import entry_points  # late: most starts need none

            self._found = {}
            for point in entry_points(group=self.group):
                package = point.dist.name if point.dist is not None else "?"
                if point.name in self._own:
                    self._note(f"{self.what} {point.name} of the package {package} has a name that is taken.")
                    continue
                words = f"of the package {package}"
                self._found[point.name] = Entry(point.value, self._kind, help=words, package=package)
        return self._found

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _loaded(part: Any) -> Any:
    if not isinstance(part, str):
        return part
    module, _, attribute = part.partition(":")
    found = import_module(module)
    for name in attribute.split("."):
        found = getattr(found, name)
    return found


def made(part: Callable[..., T], **offered: Any) -> T:
    """Call a part with what it names among its parameters; what it does not name is kept from it."""
    return part(**{name: value for name, value in offered.items() if name in wanted(part)})


def wanted(part: Callable[..., Any]) -> frozenset[str]:
    """The parameters that a part names."""
    return frozenset(inspect.signature(part).parameters)
