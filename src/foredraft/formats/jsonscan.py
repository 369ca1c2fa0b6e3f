"""Finds the end of one JSON value in a text that comes in pieces."""

from __future__ import annotations

from foredraft.formats.source import CODES


class JsonScan:
    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = self._begun = False

    def feed(self, text: str) -> tuple[int, bool]:
        """(characters that belong to the value, whether it is complete). A control token ends it wherever it comes."""
        for i, character in enumerate(text):
            if ord(character) >= CODES:
                return i, True
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
                    if self._depth == 0:
                        return i + 1, True
            elif character == '"':
                self._in_string = self._begun = True
            elif character in "{[":
                self._depth += 1
                self._begun = True
            elif character in "}]":
                if self._depth == 0:  # the end of the call around a bare value
                    return i, True
                self._depth -= 1
                if self._depth == 0:
                    return i + 1, True
            elif self._depth == 0 and self._begun and (character.isspace() or character == ","):
                return i, True
            elif not character.isspace():
                self._begun = True
        return len(text), False
