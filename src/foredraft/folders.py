"""Where this user's files lie: settings, models, caches. `FOREDRAFT_HOME` puts all of them in one folder."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """Holds `config.toml`."""
    return _folder("user_config_dir", "config")


def data_folder() -> Path:
    """Holds what the user would miss: downloaded models, chats."""
    return _folder("user_data_dir", "data")


def cache_folder() -> Path:
    """Holds what can be made again."""
    return _folder("user_cache_dir", "cache")


def _folder(kind: str, name: str) -> Path:
    home = os.environ.get("FOREDRAFT_HOME", "")
    if home:
        return Path(home).expanduser() / name
    import platformdirs

    return Path(getattr(platformdirs, kind)("foredraft", appauthor=False))
