"""Responses that are kept for `previous_response_id`, for every dialect that has it (the store: `chats/responses.py`).

Keeping is no condition of answering: where the file cannot be used, the answer goes on and says so. Going on from a
response that cannot be read is refused, because the answer would be another one.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from foredraft.chats.database import StoreError
from foredraft.chats.responses import Kept, MissingResponseError, ResponseStore, TooLongError, open_responses
from foredraft.core.errors import ForedraftError, LimitError
from foredraft.server import limits
from foredraft.server.errors import RequestError
from foredraft.server.pools import Pool

T = TypeVar("T")
_WORDS = {
    "locked": "another program uses the file",
    "full": "there is no room for it",
    "damaged": "the file is damaged",
    "newer": "the file is one of a newer version",
    "unusable": "the file cannot be used",
}
OFF = "This server keeps no responses (--no-keep-responses)."


class UnreadableError(RequestError):
    """What is kept cannot be read or written now. `reason` is a code of `StoreError`."""

    code = "responses_unusable"

    def __init__(self, reason: str, param: str) -> None:
        super().__init__(
            f"Kept responses cannot be reached: {_WORDS.get(reason, reason)}.",
            param=param,
            hint="Send the whole conversation as input, or try again.",
            status=503,
        )
        self.reason = reason


class NotKeptError(RequestError):
    """There is no such response. OpenAI's status and code: 400 where a request goes on from it, else 404."""

    def __init__(self, message: str, param: str) -> None:
        going_on = param == "previous_response_id"
        hint = "Send the whole conversation as input." if going_on else ""
        super().__init__(message, param=param, hint=hint, status=400 if going_on else 404)
        self.code = "previous_response_not_found" if going_on else "not_found"


class Responses:
    """What the server keeps. The file is opened with the first use, off the event loop."""

    def __init__(self, path: Path | None = None, *, enabled: bool = True) -> None:
        """`path` None keeps in memory, to the end of the process. Not `enabled`: nothing is kept."""
        self.path = path
        self.enabled = enabled
        self.notice = ""
        """Why responses are not kept where they should be: a code of `StoreError`."""
        self._store: ResponseStore | None = None
        self._opening = threading.Lock()
        self._pool = Pool("responses to keep", 1, 512)

    @staticmethod
    def new_id() -> str:
        """Nobody finds a response who has not been told its id: 128 random bits."""
        return f"resp_{secrets.token_hex(16)}"

    async def conversation(self, response_id: str) -> tuple[str, list[dict[str, Any]]]:
        """(id of its first response, the messages up to and with this response). Raises what is wrong with it."""
        param = "previous_response_id"
        try:
            first, messages = await self._do(lambda store: store.conversation(response_id, limits.BODY.most), param)
        except TooLongError as error:
            message = (
                f"{param}: the conversation has {error.size:,} bytes; at most {error.most:,} are taken up again. "
                "Begin a new one with a summary."
            )
            raise LimitError(message, error.size, error.most, param=param) from None
        limits.MESSAGES.check(len(messages), param)
        return first, messages

    async def keep(self, kept: Kept, items: Sequence[str] = ()) -> tuple[bool, str]:
        """Keep a response. (Whether it is kept, what is to be said about that or ""); raises nothing."""
        try:
            await self._do(lambda store: store.add(kept, items), "store")
        except ForedraftError as error:
            return False, f"store: not kept. {error.message}"
        if self.notice and self.notice != "damaged":
            return True, f"store: kept until the server ends, because {_WORDS.get(self.notice, self.notice)}."
        return True, ""

    async def get(self, response_id: str) -> Kept:
        """One response."""
        return await self._do(lambda store: store.get(response_id), "response_id")

    async def with_item(self, item_id: str) -> Kept | None:
        """The response that has an item of this id."""
        return await self._do(lambda store: store.item(item_id), "input") if self.enabled else None

    async def delete(self, response_id: str) -> None:
        """Forget one response."""
        await self._do(lambda store: store.delete(response_id), "response_id")

    async def forget(self) -> int:
        """Forget all of them; how many there were."""
        return await self._do(lambda store: store.forget(), "response_id") if self.enabled else 0

    def close(self) -> None:
        """At the end of the program."""
        self._pool.close()
        with self._opening:
            if self._store is not None:
                self._store.close()

    async def _do(self, work: Callable[[ResponseStore], T], param: str) -> T:
        if not self.enabled:
            raise RequestError(OFF, param=param, hint="Send the whole conversation as input.")
        try:
            return await self._pool.run(lambda: work(self._opened()))
        except MissingResponseError as error:
            raise _missing(error, param) from None
        except StoreError as error:
            raise UnreadableError(error.code, param) from None

    def _opened(self) -> ResponseStore:
        with self._opening:
            if self._store is None:
                if self.path is None:
                    self._store = ResponseStore(None, limits.KEPT)
                else:
                    self._store, self.notice = open_responses(self.path, limits.KEPT)
            return self._store


def _missing(error: MissingResponseError, param: str) -> RequestError:
    bounds = limits.KEPT
    said = {
        "deleted": "was deleted",
        "room": f"has made room for later ones (at most {bounds.responses:,} responses and "
        f"{bounds.size >> 20:,} MiB are kept)",
        "age": f"was not used for {round(bounds.age_s / 86400)} days",
        "": "is not kept here",
    }[error.why]
    return NotKeptError(f"{error.id[:200]!r} {said}.", param)
