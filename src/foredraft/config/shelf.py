"""The shelf as the settings describe it: where the store, its cache and the folders of the user meet."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from foredraft.config.folders import data_folder
from foredraft.config.shelf_settings import ShelfSettings, shelf_settings
from foredraft.core.errors import ModelError
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Reason
from foredraft.models.cache import ShelfCache
from foredraft.models.places import default_places, is_unicode, shown
from foredraft.models.store import DRAFT_KINDS, ModelStore


def open_shelf(settings: ShelfSettings | None = None) -> ModelStore:
    """The models of all places that the settings name; what was read of them is remembered between runs."""
    settings = settings or shelf_settings()
    where = default_places(
        settings.directory,
        settings.folders,
        huggingface=settings.huggingface,
        lmstudio=settings.lmstudio,
        ollama=settings.ollama,
        llama_cpp=settings.llama_cpp,
    )
    # Beside the data, not in a cache folder: measured pairs and imported files are kept in it too.
    return ModelStore(where, ShelfCache(data_folder() / "shelf.sqlite"))


def locate(name: str | Path) -> Path:
    """The file of a model: a path as it is, else a name on the shelf. Raises a `ModelError` as `ModelStore.require`."""
    path = Path(name).expanduser()
    if not is_unicode(path):
        raise ModelError(Reason("not_unicode", {"path": shown(path)}), path=shown(path), hint=Reason("hint_rename"))
    if isinstance(name, Path) or path.is_file() or (path.suffix.lower() == ".gguf" and path.is_absolute()):
        return path
    return open_shelf().require(name).path


def locate_draft(name: str | Path) -> Path:
    """The same for a draft, which may be one that reads hidden rows, or `BUILTIN`."""
    if str(name) == BUILTIN:
        return Path(BUILTIN)
    path = Path(name).expanduser()
    if isinstance(name, Path) or path.suffix.lower() == ".gguf" or path.is_file():
        return locate(name)
    return open_shelf().require(name, DRAFT_KINDS).path


def auto_draft(
    main: Path, *, context: int, kv_type: str = "f16", slots: int = 1, skip: Collection[Path] = ()
) -> tuple[Path | None, Reason]:
    """What `--draft auto` takes for a main model that is loaded already, but for those of `skip`: the draft's file, or
    None, and why.

    Only memory that is still free counts: the main model has its own by now.
    """
    from foredraft.models.memory import LoadPlan, need, this_machine
    from foredraft.models.recommend import choose_draft

    store = open_shelf()
    machine = this_machine()
    plan = LoadPlan(context=context, kv_type=kv_type, slots=slots)
    free = machine.video or machine.ram
    choice = choose_draft(
        store.find(main), store, memory=lambda _, draft: (need(draft, plan, context).total, free), skip=skip
    )
    return (choice.draft.path if choice.draft is not None else None), choice.why
