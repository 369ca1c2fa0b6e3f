"""Chat history in one SQLite file: chats as trees of messages, presets, preferences."""

from foredraft.chats.records import Chat, Found, Message, Preset
from foredraft.chats.store import NOT_A_CHAT, ChatStore, ChatStoreError, open_or_set_aside

__all__ = ["NOT_A_CHAT", "Chat", "ChatStore", "ChatStoreError", "Found", "Message", "Preset", "open_or_set_aside"]
