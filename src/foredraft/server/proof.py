"""Who is who on this machine, shown without giving anything away.

A program on our port may be another user's. So before a command sends its key or a prompt, the server proves that it
knows the key, or the secret in this user's data folder, by a keyed hash of a number the command has just thought of.
The port is hashed too: who merely passes the question on to the real server gets the proof of another port.

The same secret opens the app on the loopback, where every user of the machine could reach it: a ticket, valid once,
comes with the address that is printed (or opened in the browser), and becomes a cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from functools import lru_cache

from foredraft.config.folders import data_folder, private_file

TICKET_S = 12 * 3600.0
"""How long the address that was printed can be opened."""
LONGEST_CHALLENGE = 100


def home_secret() -> bytes:
    """Known to programs of this user alone; made when it is first asked for. Empty where no file can be kept."""
    file = data_folder() / "secret"
    try:
        return private_file(file, lambda: secrets.token_bytes(32))
    except OSError:
        return b""


def proofs(challenge: str, port: int, api_key: str) -> dict[str, str]:
    """What a server shows: its knowledge of the key and of the secret, for those it has."""
    known = {"key": _stretched(api_key) if api_key else b"", "home": home_secret()}
    return {name: _proof(secret, challenge, port) for name, secret in known.items() if secret}


def proven(shown: Mapping[str, object], challenge: str, port: int, api_key: str) -> bool:
    """Whether one of them is right."""
    return any(
        hmac.compare_digest(str(shown.get(name, "")).encode(), expected.encode())
        for name, expected in proofs(challenge, port, api_key).items()
    )


def _proof(secret: bytes, challenge: str, port: int) -> str:
    return _keyed(secret, f"server {port} {challenge}")


def _keyed(secret: bytes, text: str) -> str:
    return hmac.new(secret, f"foredraft {text}".encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=4)
def _stretched(api_key: str) -> bytes:
    """Anyone may ask for a proof, and try keys on it at home: each try takes 30 ms and 8 MB."""
    return hashlib.scrypt(api_key.encode("utf-8", "surrogateescape"), salt=b"foredraft", n=2**13, r=8, p=1)


# ---- the app's door ----


def ticket(secret: bytes, port: int) -> str:
    """Opens the app once."""
    number = f"{int(time.time() + TICKET_S)}-{secrets.token_hex(8)}"
    return f"{number}-{_keyed(secret, f'ticket {port} {number}')}"


class Door:
    """Lets in who has a ticket, and knows them again by their cookie."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._used: dict[str, int] = {}

    def cookie(self, port: int) -> tuple[str, str]:
        """(name, value). Browsers keep one set of cookies for all ports of a host, hence the name."""
        return f"foredraft-{port}", _keyed(self._secret, f"cookie {port}")

    def knows(self, cookies: Mapping[str, str], port: int) -> bool:
        name, value = self.cookie(port)
        return hmac.compare_digest(cookies.get(name, "").encode(), value.encode())

    def admits(self, given: str, port: int) -> bool:
        """Whether this is a ticket that nobody has used yet. It is used now."""
        number, _, mark = given.rpartition("-")
        if not hmac.compare_digest(mark.encode(), _keyed(self._secret, f"ticket {port} {number}").encode()):
            return False
        until, now = int(number.partition("-")[0]), int(time.time())
        self._used = {used: ends for used, ends in self._used.items() if ends >= now}
        if until < now or number in self._used:
            return False
        self._used[number] = until
        return True
