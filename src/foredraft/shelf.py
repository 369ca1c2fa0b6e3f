"""The shelf as the settings describe it: where the store, its cache and the user's folders meet."""

from __future__ import annotations

from foredraft.folders import data_folder
from foredraft.models.cache import ShelfCache
from foredraft.models.places import default_places
from foredraft.models.store import ModelStore
from foredraft.shelf_settings import ShelfSettings, shelf_settings


def open_shelf(settings: ShelfSettings | None = None) -> ModelStore:
    """The models of all places that the settings name; what was read of them is remembered between runs."""
    settings = settings or shelf_settings()
    where = default_places(
        settings.directory, settings.folders, huggingface=settings.huggingface, lmstudio=settings.lmstudio
    )
    # Beside the data, not in a cache folder: measured pairs and imported files are kept in it too.
    return ModelStore(where, ShelfCache(data_folder() / "shelf.sqlite"))
