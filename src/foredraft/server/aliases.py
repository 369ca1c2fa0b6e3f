"""Other names for models: those of the settings (with * and ?), and those that clients gave (Ollama's copy).

A client that is bound to a name, such as "claude-sonnet-4-5" or "gpt-4o", gets a model of this machine by it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from foredraft.core import files
from foredraft.core.errors import ForedraftError


class Aliases:
    """Names to names of models, without regard to upper case. Those that were given are kept in a file, if there is
    one. Methods may be called from any thread."""

    def __init__(self, patterns: Mapping[str, str] | None = None, file: Path | None = None) -> None:
        self._patterns = {pattern.lower(): name for pattern, name in (patterns or {}).items()}
        self._file = file
        self._lock = threading.Lock()
        self._given: dict[str, str] = {}
        self._given = self._read()

    def of(self, name: str) -> str:
        """The model that a name stands for; the name itself where it is no alias."""
        wanted = name.lower()
        if wanted in self._given:
            return self._given[wanted]
        return next((model for pattern, model in self._patterns.items() if fnmatchcase(wanted, pattern)), name)

    def given(self) -> dict[str, str]:
        """Those that clients gave."""
        return dict(self._given)

    def give(self, alias: str, model: str) -> None:
        """Give a model one more name. Raises `ForedraftError` where it cannot be kept."""
        self._change({alias.lower(): model}, remove=None)

    def take(self, alias: str) -> bool:
        """Forget a name that was given; False where it is none."""
        if alias.lower() not in self._given:
            return False
        self._change({}, remove=alias.lower())
        return True

    def _change(self, more: Mapping[str, str], remove: str | None) -> None:
        with self._lock:
            changed = {name: model for name, model in {**self._read(), **more}.items() if name != remove}
            if self._file is not None:
                fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}")
                try:
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                    fresh.write_text(json.dumps(changed, ensure_ascii=False, indent=1), encoding="utf-8")
                    files.replace(fresh, self._file)
                except OSError as error:
                    raise ForedraftError(
                        f"The name cannot be kept in {self._file}: {error.strerror or error}."
                    ) from error
            self._given = changed

    def _read(self) -> dict[str, str]:
        """What the file holds: another server of this user may have written it. One that is damaged is none."""
        if self._file is None:
            return self._given
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(name): str(model) for name, model in found.items()} if isinstance(found, dict) else {}
