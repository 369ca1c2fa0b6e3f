"""Chats that were held long ago, without waiting for a model."""

from foredraft.chats import ChatStore


def long_talk(served, answer, answers, others=0, title="Long talk"):
    """A chat with so many answers in the running app's own database; the address of its page."""
    store = ChatStore(served.home / "data" / "chats.db")
    chat, parent = store.create(title), None
    size = max(3, len(answer) // 20_000)
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    tokens = [[piece, "acbm"[n % 4], 1] for n, piece in enumerate(pieces)]
    for number in range(answers):
        parent = store.add(chat.id, "user", f"Question {number}", parent=parent)
        parent = store.add(chat.id, "assistant", answer, parent=parent, tokens=tokens, model="Scripted 1B")
    for number in range(others):
        store.create(f"Other {number}")
    store.close()
    return f"/c/{chat.id}"
