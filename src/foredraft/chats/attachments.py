"""Text files that go with a message: read, told apart from what is no text, and put before the question.

A file's whole text is part of the message that brings it, as long as the chat lives; nothing is summarised or searched.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

LARGEST = 4 << 20
"""Bytes of one file. More than any context of today holds; the context itself is the usual limit."""
LONGEST_NAME = 120
KEY = "attachments"
"""Under which a message's `meta` keeps them."""

_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_IMAGE_NAMES = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".ico"}
)
_DOCUMENTS = (b"%PDF", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_KANA = re.compile(r"[\u3040-\u30ff]")


class AttachmentError(Exception):
    """A file cannot be attached. `code` is image, document, binary, empty or large; `name` is the file's."""

    def __init__(self, code: str, name: str) -> None:
        super().__init__(f"{name} cannot be attached: {code}.")
        self.code = code
        self.name = name


@dataclass(frozen=True, slots=True)
class Attachment:
    """One text file. `size` is that of the file in bytes, `tokens` the length of its text for the model that was asked
    first (0 where that is not known)."""

    name: str
    text: str
    size: int
    tokens: int = 0
    encoding: str = "utf-8"

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def read(name: str, content: bytes) -> Attachment:
    """The text of a file. Raises `AttachmentError` for what holds no text.

    UTF-8 and UTF-16 by their own marks; else Shift_JIS (spreadsheets of Japanese systems) where the text has kana in
    it, else Windows-1252. `encoding` says which, so that a wrong guess can be seen.
    """
    name = clean_name(name)
    if not content:
        raise AttachmentError("empty", name)
    if len(content) > LARGEST:
        raise AttachmentError("large", name)
    if content.startswith(_IMAGES) or PurePosixPath(name.lower()).suffix in _IMAGE_NAMES:
        raise AttachmentError("image", name)
    if content.startswith(_DOCUMENTS):
        raise AttachmentError("document", name)
    text, encoding = _decoded(name, content)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise AttachmentError("empty", name)
    return Attachment(name, text, len(content), encoding=encoding)


def clean_name(name: str) -> str:
    """A file's name without folders, line breaks and other things that a name in a prompt must not have."""
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[\x00-\x1f\x7f`]", "", last).strip()[:LONGEST_NAME] or "file.txt"


def attachments_of(meta: dict[str, Any]) -> list[Attachment]:
    """Those of a message. What is not one (a file written by another program) is left out."""
    kept = meta.get(KEY)
    found = []
    for one in kept if isinstance(kept, list) else []:
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("text"), str):
            size, tokens = (one.get(key) for key in ("size", "tokens"))
            found.append(
                Attachment(
                    clean_name(one["name"]),
                    one["text"],
                    size if isinstance(size, int) else len(one["text"].encode()),
                    tokens if isinstance(tokens, int) else 0,
                    str(one.get("encoding", "utf-8")),
                )
            )
    return found


def with_attachments(text: str, attached: Sequence[Attachment]) -> str:
    """What the model reads: every file with its name, then the message."""
    return "\n\n".join([*(_block(one) for one in attached), text] if text else [_block(one) for one in attached])


def _block(one: Attachment) -> str:
    """A fence that no line of the file can close."""
    longest = max((len(run) for run in re.findall(r"^ *(`{3,})", one.text, re.MULTILINE)), default=2)
    fence = "`" * (longest + 1)
    body = one.text if one.text.endswith("\n") else one.text + "\n"
    return f"File: {one.name}\n{fence}\n{body}{fence}"


def _decoded(name: str, content: bytes) -> tuple[str, str]:
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    marked = next((codec for mark, codec in marks.items() if content.startswith(mark)), None)
    for encoding in [marked] if marked else ["utf-8", "cp932", "cp1252"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _CONTROL.search(text):
            break  # no text has those
        if encoding == "cp932" and not _KANA.search(text):
            continue
        return text, encoding.removesuffix("-sig")
    raise AttachmentError("binary", name)
