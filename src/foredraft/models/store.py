"""The shelf: every model on this machine, by name.

Files are read where they lie (the program's own folder, the Hugging Face cache, LM Studio's folder, further folders)
and only the own folder is ever changed. What was read is remembered (`cache.py`), so only a first look costs time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foredraft.core import files
from foredraft.core.errors import (
    AmbiguousModelError,
    ForedraftError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Numbers, Reason, as_reason, sentences
from foredraft.models import places
from foredraft.models.brought import Origin
from foredraft.models.cache import Measured, ShelfCache
from foredraft.models.facts import PART_NAME, ModelFacts, facts_from_json, facts_to_json, read_facts
from foredraft.models.facts import inside as inside_of
from foredraft.models.head_fit import made_for
from foredraft.models.names import find_name, model_name, nearest, unique_names
from foredraft.models.pairing import (
    KINDS,
    NONE,
    Difference,
    MemoryCheck,
    Pairing,
    pair,
    token_difference,
    unreadable,
)
from foredraft.models.places import Found, Place

DRAFT_KINDS = ("text", "helper")
"""Kinds of files (`ModelFacts.kind`) that can guess."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model on the shelf. `facts` is None where the file cannot be read; `problem` then says why."""

    name: str
    path: Path
    source: str
    """Where it lies: one of `places.SOURCES`."""
    publisher: str
    size_bytes: int
    facts: ModelFacts | None
    problem: Reason | None = None
    repository: str = ""
    """The repository's name, or the folder's, where it lies in one."""

    @property
    def usable(self) -> bool:
        """Whether it can be loaded to write text."""
        return self.facts is not None and self.facts.kind == "text" and self.facts.missing is None

    @property
    def drafts_only(self) -> bool:
        """Whether it is a draft that reads another model's hidden rows, and no model of its own."""
        return self.facts is not None and self.facts.kind == "helper" and self.facts.missing is None

    @property
    def embeds(self) -> bool:
        """Whether it can be loaded to turn texts into vectors."""
        return self.facts is not None and self.facts.kind == "embedding" and self.facts.missing is None

    @property
    def identity(self) -> str:
        """The same for copies of a file, wherever they lie: what a measurement is kept under."""
        facts = self.facts
        if facts is None:
            return str(self.path)
        return f"{facts.architecture}:{facts.n_params}:{facts.quantisation}:{facts.size_bytes}:{facts.name}"


def own_draft(main: ModelFile) -> ModelFile | None:
    """The draft inside a model's own file, as if it were one of its own: named, and in the place of a path, `BUILTIN`.
    None where the header speaks of none."""
    inside = inside_of(main.facts) if main.facts is not None else None
    if inside is None:
        return None
    return ModelFile(BUILTIN, inside.path, BUILTIN, main.publisher, inside.size_bytes, inside)


class ModelStore:
    """The models of some places. Nothing is read before the first question; `scan` looks again."""

    def __init__(self, where: Sequence[Place], cache: ShelfCache | None = None) -> None:
        self.places = list(where)
        self.cache = cache or ShelfCache(None)
        self.problems: list[Reason] = []
        """Folders and files that could not be looked at in the last scan, with the reason."""
        self._models: list[ModelFile] | None = None
        self._measured: dict[tuple[str, str], Measured] | None = None
        self._differences: dict[tuple[str, str], Difference | None] = {}

    @property
    def own(self) -> Path:
        """The program's own folder: downloads and copies go here, and only here something is deleted."""
        for place in self.places:
            if place.source == places.OWN:
                return place.path
        raise ForedraftError(Reason("no_own_folder"))

    # ---- looking ----

    def models(self) -> list[ModelFile]:
        """Every model, sorted by name."""
        return self.scan() if self._models is None else self._models

    def scan(self) -> list[ModelFile]:
        """Look at all places again; files that did not change come from the cache."""
        self.problems = []
        known, fresh, seen = self.cache.facts(), [], set()
        models: list[tuple[str, ModelFile]] = []
        for group in _groups(self._found()):
            path, stamp = str(group[0].path), _stamp(group)
            seen.add(path)
            before = known.get(path)
            facts: ModelFacts | None = None
            problem: Reason | None = None
            if before is not None and before[0] == stamp:
                problem = _problem_from_text(before[2])
                with contextlib.suppress(KeyError, TypeError):
                    facts = facts_from_json(before[1]) if before[1] is not None else None
            if facts is None and not problem:
                facts, problem, lasting = _look(group[0].path)
                if lasting:
                    fresh.append((path, stamp, facts_to_json(facts) if facts else None, _problem_to_text(problem)))
            models.append(_named(group, facts, problem))
        self.cache.remember(fresh)
        self.cache.forget(known.keys() - seen)
        self.problems[:0] = self.cache.notes
        full = unique_names([(name, model.publisher) for name, model in models])
        self._models = sorted(
            (_renamed(model, name) for name, (_, model) in zip(full, models, strict=True)),
            key=lambda model: model.name,
        )
        return self._models

    def _found(self) -> Iterator[Found]:
        """Every GGUF file once: a link to a file that was seen already is that file."""
        seen: set[Path] = set()
        imported = (_found_import(path, self.problems) for path in self.cache.imports())
        walks = itertools.chain.from_iterable(places.walk(place, self.problems) for place in self.places)
        for found in itertools.chain(walks, (found for found in imported if found is not None)):
            real = found.path.resolve()
            if real not in seen:
                seen.add(real)
                yield found

    # ---- finding ----

    def find(self, name: str | Path, *, whole: bool = False) -> ModelFile:
        """The model of a name, a short form of one, a name that other programs have for it, or a path. With `whole`
        only whole names are taken: for what cannot be taken back.

        Raises `ModelNotFoundError` with the nearest names, or `AmbiguousModelError` with the candidates.
        """
        path = Path(name).expanduser()
        named = path.suffix.lower() == ".gguf" and (path.is_absolute() or path.exists())
        if isinstance(name, Path) or named or (path.parent != Path() and path.is_file()):
            return self._file(path)
        models = {model.name: model for model in self.models()}
        origins = {of.name: Origin(of.publisher, of.repository, of.path.name) for of in models.values()}
        try:
            return models[find_name(str(name), list(models), origins, whole=whole)]
        except AmbiguousModelError as error:
            # Copies of one file in several places are no question: the first place decides.
            candidates = [models[candidate] for candidate in error.candidates]
            if len({model.identity for model in candidates}) == 1:
                return min(candidates, key=lambda model: _rank(model.source))
            raise

    def _file(self, path: Path) -> ModelFile:
        _require_unicode(path)
        if not path.is_file():
            raise ModelNotFoundError(str(path), nearest=nearest(path.stem, [model.name for model in self.models()]))
        same = {path, path.absolute(), path.resolve()}
        for model in self.models():
            if model.path in same or (model.facts is not None and not same.isdisjoint(model.facts.paths)):
                return model
        match = PART_NAME.match(path.name)
        if match is not None:
            path = path.with_name(f"{match['stem']}-{1:05d}-of-{match['parts']}.gguf")
        facts, problem, _ = _look(path)
        stem = match["stem"] if match is not None else path.stem
        size = facts.size_bytes if facts else path.stat().st_size if path.is_file() else 0
        name = model_name(stem, facts.quantisation if facts else "")
        return ModelFile(name, path, places.FOLDER, "", size, facts, problem)

    def require(self, name: str | Path, kinds: Sequence[str] = ("text",)) -> ModelFile:
        """Like `find`, for loading: raises a `ModelError` with the reason for a file that cannot be used, and for one
        of another kind than those of `kinds` (`ModelFacts.kind`).

        Looks at the file again, so that one that was deleted or changed since the scan is noticed here.
        """
        model = self.find(name)
        if not model.path.exists():
            raise ModelNotFoundError(model.name, hint=Reason("hint_file_gone", {"path": str(model.path)}))
        if model.facts is not None and model.facts.missing is not None:
            number, parts = model.facts.missing
            raise ModelError(
                Reason("file_part_missing", {"i": number, "n": parts, "model": model.name}),
                path=str(model.path),
                hint=Reason("hint_part_missing"),
            )
        if model.facts is None:
            raise _unreadable(model)
        if model.facts.kind not in kinds:
            raise _of_another_kind(model, model.facts, kinds)
        return model

    # ---- matching ----

    def pair(
        self, main: ModelFile, draft: ModelFile, *, force: bool = False, memory: MemoryCheck | None = None
    ) -> Pairing:
        """The verdict on two models of the shelf; comparisons of vocabularies are remembered."""
        if main.facts is None:
            raise _unreadable(main)
        if draft.facts is None:
            return unreadable(draft.problem or NONE)
        return pair(main.facts, draft.facts, force=force, differ=self._differ, memory=memory)

    def drafts(self, main: ModelFile, *, memory: MemoryCheck | None = None) -> list[tuple[ModelFile, Pairing]]:
        """Every other model with its verdict, the best first."""
        order = {"recommended": 0, "works": 1, "not_usable": 2}
        others = [draft for draft in self.models() if draft.path != main.path]
        own = own_draft(main)
        if own is not None:
            others.append(own)
        found = [(draft, self.pair(main, draft, memory=memory)) for draft in others]
        return sorted(found, key=lambda item: (order[item[1].level], -item[0].size_bytes, item[0].name))

    def mains(self, draft: ModelFile) -> list[ModelFile]:
        """The models on the shelf that a draft that reads hidden rows was made for, whether it can be run or not."""
        fits = ("head_fits", "head_unsupported", "memory")
        return [main for main in self.models() if main.usable and self.pair(main, draft).code in fits]

    def draft_named(self, main: ModelFile, name: str | Path) -> ModelFile:
        """The draft of a name, which may be `BUILTIN`: the one inside the main model. Raises what `find` raises."""
        if str(name) != BUILTIN:
            return self.find(name)
        own = own_draft(main)
        if own is None:
            raise ModelNotFoundError(BUILTIN, hint=Reason("hint_no_own_draft", {"model": main.name}))
        return own

    def _differ(self, main: ModelFacts, draft: ModelFacts) -> Difference | None:
        """`token_difference`, which reads two files, once for each pair of vocabularies."""
        pair_of = main.vocabulary.tokens_hash, draft.vocabulary.tokens_hash
        if pair_of[0] == pair_of[1]:
            return None
        if pair_of not in self._differences:
            known, difference = self.cache.difference(*pair_of)
            if not known:
                difference = token_difference(main, draft)
                self.cache.remember_difference(*pair_of, difference)
            self._differences[pair_of] = difference
        return self._differences[pair_of]

    def measured(self, main: ModelFile, draft: ModelFile) -> Measured | None:
        """What was measured for this pair on this machine, if anything."""
        if self._measured is None:
            self._measured = self.cache.measured()
        return self._measured.get((main.identity, draft.identity))

    def remember_measured(self, main: ModelFile, draft: ModelFile, measured: Measured) -> None:
        self.cache.remember_measured(main.identity, draft.identity, measured)
        self._measured = None

    # ---- changing: the own folder only ----

    def remove(self, model: ModelFile) -> int:
        """Delete a model of the own folder, or forget an imported one. The bytes set free.

        Raises `ModelError` for files of other programs, which are never touched.
        """
        if model.source == places.IMPORTED:
            self.cache.forget_import(str(model.path))
            self._models = None
            return 0
        if model.source != places.OWN:
            raise ModelError(
                Reason("not_own_folder", {"model": model.name, "folder": str(model.path.parent)}),
                path=str(model.path),
                hint=Reason("hint_not_own_folder"),
            )
        paths = model.facts.paths if model.facts else (model.path,)
        with self.locked():
            freed = sum(path.stat().st_size for path in paths if path.exists())
            for path in paths:
                files.remove(path)
                path.with_name(path.name + ".lock").unlink(missing_ok=True)  # of a download
                for folder in itertools.takewhile(lambda folder: folder != self.own, path.parents):
                    with contextlib.suppress(OSError):  # not empty: other models live there
                        folder.rmdir()
        self._models = None
        return freed

    def add(self, path: Path, how: str = "in place") -> ModelFile:
        """Put a file on the shelf: registered "in place", or by "copy" or "move" into the own folder."""
        path = path.expanduser().absolute()
        _require_unicode(path)
        facts = read_facts(path)  # refuses what is no model before anything is written
        if facts.missing is not None:
            i, n = facts.missing
            raise ModelError(Reason("file_part_missing", {"i": i, "n": n, "model": path.name}), path=str(path))
        if how == "in place":
            self.cache.remember_import(str(facts.path))
            if not self.cache.lasts:  # it would be forgotten when the program ends
                why = Reason("shelf_unkept", {"file": path.name, "why": self.cache.notes[-1]})
                raise ModelError(why, path=str(path), hint=Reason("hint_use_path"))
            placed = facts.path
        else:
            with self.locked():
                placed = _place_files(facts.paths, self.own, move=how == "move")
        self._models = None
        return self.find(placed)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes the own folder."""
        from filelock import FileLock, Timeout

        self.own.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.own / ".lock", timeout=30):
                yield
        except Timeout as error:
            raise ForedraftError(Reason("models_locked"), hint=Reason("hint_moment")) from error


def _of_another_kind(model: ModelFile, facts: ModelFacts, kinds: Sequence[str]) -> UnsupportedModelError:
    hint = Reason("hint_embedding_model" if "embedding" in kinds else "hint_text_model")
    if facts.kind == "helper":
        hint = Reason("hint_draft_for", {"models": made_for(facts)})
    elif facts.kind == "embedding":
        hint = sentences(hint, Reason("hint_embedder"))
    why = Reason(f"kind_{facts.kind}" if facts.kind in KINDS else "kind_text")
    said: Numbers = {"model": model.name, "kind": why}
    return UnsupportedModelError(Reason("model_wrong_kind", said), path=str(model.path), hint=hint)


def _require_unicode(path: Path) -> None:
    if not places.is_unicode(path):
        name = places.shown(path)
        raise ModelError(Reason("not_unicode", {"path": name}), path=name, hint=Reason("hint_rename"))


def _unreadable(model: ModelFile) -> ModelError:
    said: Numbers = {"file": model.name, "error": model.problem or NONE}
    return ModelError(Reason("file_unreadable", said), path=str(model.path))


def _problem_to_text(problem: Reason | None) -> str:
    return json.dumps(problem.as_dict()) if problem is not None else ""


def _problem_from_text(text: str) -> Reason | None:
    """What `_problem_to_text` made; earlier versions wrote English words."""
    if not text.startswith('{"code"'):
        return as_reason(text) if text else None
    return Reason.from_dict(json.loads(text))


def _look(path: Path) -> tuple[ModelFacts | None, Reason | None, bool]:
    """(facts, problem, whether that is the file's own). What the system lacks (memory, descriptors, permission) may be
    there the next time."""
    try:
        return read_facts(path), None, True
    except ForedraftError as error:
        return None, error.reason_or_words, isinstance(error, (ModelFormatError, UnsupportedModelError))
    except OSError as error:
        return None, as_reason(error.strerror or str(error)), False


def _groups(found: Iterable[Found]) -> Iterator[list[Found]]:
    """Files that make one model: the parts of a split file in order, any other file alone."""
    split: dict[tuple[Path, str, str], list[Found]] = {}
    for file in found:
        match = PART_NAME.match(file.path.name)
        if match is None:
            yield [file]
        else:
            split.setdefault((file.path.parent, match["stem"], match["parts"]), []).append(file)
    for parts in split.values():
        yield sorted(parts, key=lambda part: part.path.name)


def _stamp(group: Sequence[Found]) -> str:
    return ";".join(f"{file.path.name}:{file.size}:{file.changed}" for file in group)


def _named(group: Sequence[Found], facts: ModelFacts | None, problem: Reason | None) -> tuple[str, ModelFile]:
    first = group[0]
    match = PART_NAME.match(first.path.name)
    stem = first.name or (match["stem"] if match is not None else first.path.stem)
    if match is not None and int(match["part"]) != 1:
        facts, problem = None, Reason("part_missing", {"i": 1, "n": int(match["parts"])})
    name = model_name(stem, facts.quantisation if facts else "", first.folder)
    if first.source == places.EMBEDDED:
        name = "foredraft-demo" if stem == "main" else f"foredraft-demo-{stem}"
    size = sum(file.size for file in group)
    return name, ModelFile(name, first.path, first.source, first.publisher, size, facts, problem, first.folder)


def _renamed(model: ModelFile, name: str) -> ModelFile:
    return dataclasses.replace(model, name=name)


def _rank(source: str) -> int:
    return places.SOURCES.index(source)


def _found_import(path: str, problems: list[Reason]) -> Found | None:
    file = Path(path)
    try:
        status = file.stat()
    except OSError as error:
        problems.append(places.system_problem(file, error))
        return None
    if not stat.S_ISREG(status.st_mode):
        problems.append(places.no_file(file, status.st_mode))
        return None
    return Found(file, places.IMPORTED, "", file.parent.name, status.st_size, status.st_mtime_ns)


def _place_files(paths: Sequence[Path], own: Path, *, move: bool) -> Path:
    """Copy or move files into the own folder; half a copy is never left under its final name."""
    folder = own / "imported" / paths[0].stem
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        target = folder / path.name
        if target.exists():
            there = Reason("there_already", {"path": str(target)})
            raise ModelError(there, path=str(target), hint=Reason("hint_there_already"))
        if move:
            shutil.move(path, target)
        else:
            partial = target.with_name(target.name + ".partial")
            try:
                shutil.copyfile(path, partial)
                files.replace(partial, target)
            finally:
                files.remove(partial)
    return folder / paths[0].name
