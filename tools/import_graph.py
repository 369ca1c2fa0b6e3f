"""The import graph of a package: rooms (its subpackages and top-level modules), arrows between them, and circles.

PYTHONPATH=src python tools/import_graph.py            # how many, and every circle of modules
PYTHONPATH=src python tools/import_graph.py --arrows   # and each arrow
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import grimp

PACKAGE = "foredraft"


def room(module: str) -> str:
    """The subpackage or top-level module that a module lies in."""
    return ".".join(module.split(".")[:2])


def imports(package: str = PACKAGE) -> dict[str, set[str]]:
    """What each module imports of its package, inside functions and for type checking too."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def arrows(found: Mapping[str, Iterable[str]], package: str = PACKAGE) -> set[tuple[str, str]]:
    """(importer, imported) of different rooms."""
    pairs = {(room(one), room(other)) for one, others in found.items() for other in others}
    return {(one, other) for one, other in pairs if one != other and package not in (one, other)}


def circles(found: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Sets of modules that import each other, by whatever way (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    made: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(found.get(module, ())):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                made.append(sorted(stack[at:]))
            del stack[at:]

    for module in sorted(found):
        if module not in number:
            visit(module)
    return made


def main() -> int:
    found = imports()
    between = arrows(found)
    rooms = {room(module) for module in found} - {PACKAGE}
    edges = sum(len(others) for others in found.values())
    rings = circles(found)
    print(f"{len(found)} modules, {edges} imports; {len(rooms)} rooms, {len(between)} arrows; {len(rings)} circles")
    for ring in rings:
        print("circle:", ", ".join(ring))
    if "--arrows" in sys.argv:
        for one, other in sorted(between):
            print(f"{one} -> {other}")
    return bool(rings)


if __name__ == "__main__":
    sys.exit(main())
