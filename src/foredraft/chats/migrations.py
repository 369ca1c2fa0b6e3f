"""The steps that make the database what it is, by name, in order. Steps are added at the end and never changed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "m001_chats_and_messages",
        """
        CREATE TABLE chats (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL,
            created REAL NOT NULL,
            changed REAL NOT NULL,
            leaf INTEGER,
            system_prompt TEXT NOT NULL DEFAULT '',
            unsent TEXT NOT NULL DEFAULT '',
            settings TEXT NOT NULL DEFAULT '{}',
            folder TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX chats_by_change ON chats (changed DESC);
        CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
            parent INTEGER REFERENCES messages (id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            text TEXT NOT NULL,
            created REAL NOT NULL,
            status TEXT NOT NULL,
            model TEXT NOT NULL DEFAULT '',
            draft TEXT NOT NULL DEFAULT '',
            tokens TEXT NOT NULL DEFAULT '[]',
            meta TEXT NOT NULL DEFAULT '{}'
        );
        CREATE INDEX messages_of_chat ON messages (chat_id, id);
        CREATE INDEX messages_by_parent ON messages (parent);
        CREATE INDEX messages_running ON messages (id) WHERE status = 'running';
        """,
    ),
    (
        "m002_presets_and_preferences",
        """
        CREATE TABLE presets (name TEXT PRIMARY KEY, settings TEXT NOT NULL);
        CREATE TABLE preferences (name TEXT PRIMARY KEY, value TEXT NOT NULL);
        """,
    ),
    (
        "m003_search",
        # Trigrams find three characters and more; shorter words are looked for in `messages` itself (see search.py).
        # Running answers are left out: they are indexed once, when they end.
        """
        CREATE VIRTUAL TABLE found_in USING fts5 (text, content='messages', content_rowid='id', tokenize='trigram');
        CREATE TRIGGER message_added AFTER INSERT ON messages WHEN new.status <> 'running' BEGIN
            INSERT INTO found_in (rowid, text) VALUES (new.id, new.text);
        END;
        CREATE TRIGGER message_deleted AFTER DELETE ON messages WHEN old.status <> 'running' BEGIN
            INSERT INTO found_in (found_in, rowid, text) VALUES ('delete', old.id, old.text);
        END;
        CREATE TRIGGER message_ended AFTER UPDATE OF text, status ON messages
            WHEN old.status = 'running' AND new.status <> 'running' BEGIN
            INSERT INTO found_in (rowid, text) VALUES (new.id, new.text);
        END;
        CREATE TRIGGER message_started_again AFTER UPDATE OF text, status ON messages
            WHEN old.status <> 'running' AND new.status = 'running' BEGIN
            INSERT INTO found_in (found_in, rowid, text) VALUES ('delete', old.id, old.text);
        END;
        CREATE TRIGGER message_changed AFTER UPDATE OF text ON messages
            WHEN old.status <> 'running' AND new.status <> 'running' BEGIN
            INSERT INTO found_in (found_in, rowid, text) VALUES ('delete', old.id, old.text);
            INSERT INTO found_in (rowid, text) VALUES (new.id, new.text);
        END;
        """,
    ),
)


class NewerDatabaseError(Exception):
    """The file was written by a later version of the program; `unknown` names its first unknown step."""

    def __init__(self, unknown: str) -> None:
        super().__init__(f"The database has been changed by a newer version of Foredraft ({unknown}).")
        self.unknown = unknown


def migrate(db: sqlite3.Connection, steps: Sequence[tuple[str, str]] = MIGRATIONS) -> None:
    """Apply every step that is missing, each whole or not at all. Raises `NewerDatabaseError` before any change."""
    db.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied REAL NOT NULL)")
    applied = [name for (name,) in db.execute("SELECT name FROM migrations ORDER BY name")]
    known = {name for name, _ in steps}
    for name in applied:
        if name not in known:
            raise NewerDatabaseError(name)
    for name, script in steps:
        if name not in applied:
            # executescript would commit first, so the transaction is opened inside: a step is all or nothing.
            db.executescript(
                f"BEGIN IMMEDIATE;\n{script}\nINSERT INTO migrations VALUES ('{name}', {time.time():f});\nCOMMIT;"
            )
