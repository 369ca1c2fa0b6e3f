"""Where this user's files lie: settings, models, caches. `FOREDRAFT_HOME` puts all of them in one folder.

They are nobody else's: on systems with POSIX modes only their owner can enter these folders.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
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


def make_private(folder: Path) -> None:
    """Make a folder; one of ours so that its owner alone can enter it. Raises `OSError`."""
    for own in (config_folder(), data_folder(), cache_folder()):
        if own == folder or own in folder.parents:
            own.parent.mkdir(parents=True, exist_ok=True)
            own.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def mend() -> list[str]:
    """Close our folders, where they are, to other users: earlier versions left them open. What could not be closed."""
    found = map(close_off, (config_folder(), data_folder(), cache_folder()))
    return [problem for problem in found if problem is not None]


def close_off(path: Path) -> str | None:
    """Take a file's or a folder's modes for others away; why that could not be done, or None."""
    if os.name != "posix":
        return None
    try:
        found = path.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o077:
            path.chmod(stat.S_IMODE(found.st_mode) & 0o700)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"Other users of this machine can read {path}: {error.strerror or error}."
    return None


def private_file(file: Path, fresh: Callable[[], bytes]) -> bytes:
    """What is in a file that its owner alone can read; made with `fresh` content where there is none, or where others
    could read it. Raises `OSError`."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):
            found = file.stat()
            if os.name != "posix" or (found.st_uid == os.geteuid() and not found.st_mode & 0o077):
                content = file.read_bytes()
                if content:
                    return content
            file.unlink()
        make_private(file.parent)
        whole = file.with_name(f"{file.name}.{os.getpid()}")
        with contextlib.suppress(FileExistsError):
            number = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(number, fresh())
                os.close(number)
                if os.name == "posix":
                    file.hardlink_to(whole)
                else:
                    whole.rename(file)  # there it replaces nothing
            finally:
                whole.unlink(missing_ok=True)
    raise OSError(f"{file} cannot be kept.")
