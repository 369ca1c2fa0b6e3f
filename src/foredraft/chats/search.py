"""Search in all messages and titles, Japanese words of two characters included."""

from __future__ import annotations

import sqlite3

TRIGRAM = 3
"""The index finds words of this many characters and more."""
EXCERPT = 60


def matching_messages(db: sqlite3.Connection, words: str, limit: int) -> list[tuple[str, str]]:
    """(chat id, text) of the messages with `words` in them, newest first.

    Short words are not in the trigram index (and LIKE on the index table finds nothing for them), so `instr` on the
    plain table looks for those; it compares as written, hence the lower-case copies.
    """
    if len(words) >= TRIGRAM:
        phrase = '"' + words.replace('"', '""') + '"'
        query = (
            "SELECT m.chat_id, m.text FROM found_in f JOIN messages m ON m.id = f.rowid"
            " WHERE found_in MATCH ? ORDER BY m.id DESC LIMIT ?"
        )
        return db.execute(query, (phrase, limit)).fetchall()
    query = (
        "SELECT chat_id, text FROM messages WHERE status <> 'running' AND instr(lower(text), lower(?)) > 0"
        " ORDER BY id DESC LIMIT ?"
    )
    return db.execute(query, (words, limit)).fetchall()


def excerpt(text: str, words: str) -> str:
    """The words around the first place where `words` stand."""
    at = text.lower().find(words.lower())
    if at < 0:
        return ""
    start, end = max(0, at - EXCERPT // 3), at + EXCERPT
    shown = " ".join(text[start:end].split())
    return ("…" if start else "") + shown + ("…" if end < len(text) else "")
