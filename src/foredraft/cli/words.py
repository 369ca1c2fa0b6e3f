"""The words of the command line, in the user's language."""

from __future__ import annotations

import os
import sys

from foredraft.words import AUTO, Words, of_locale, words


def language() -> str:
    """The language of the settings, else the system's. Raises `SettingsError` for settings that cannot be read."""
    from foredraft.config.shelf_settings import shelf_settings

    chosen = shelf_settings().language
    return of_system() if chosen == AUTO else chosen


def of_system() -> str:
    """The language of the system."""
    return of_locale(_locale())


def t() -> Words:
    """The words of the user's language."""
    return words(language())


def _locale() -> str:
    named = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    if not named and sys.platform == "win32":
        import ctypes
        import locale

        named = locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")
    return named
