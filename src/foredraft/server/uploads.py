"""Text files that clients have sent, for questions that come later: kept in memory, the oldest go first."""

from __future__ import annotations

import secrets
from collections import OrderedDict

from foredraft.chats.attachments import Attachment
from foredraft.server.limits import UPLOADS


class Uploads:
    """Files by identifiers that nobody can guess, so that a client reaches only its own."""

    def __init__(self, most: int = UPLOADS.most) -> None:
        """`most`: bytes of all files together."""
        self._most = most
        self._files: OrderedDict[str, Attachment] = OrderedDict()
        self._size = 0

    def keep(self, file: Attachment) -> str:
        """Its identifier."""
        identifier = secrets.token_hex(16)
        self._files[identifier] = file
        self._size += file.size
        while self._size > self._most and len(self._files) > 1:
            _, oldest = self._files.popitem(last=False)
            self._size -= oldest.size
        return identifier

    def get(self, identifier: str) -> Attachment | None:
        """The file, or None where it was never there or has had to go."""
        file = self._files.get(identifier)
        if file is not None:
            self._files.move_to_end(identifier)
        return file
