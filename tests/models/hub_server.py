"""A hub on loopback, as far as the client library asks: what a repository holds, and its files, whole or in part."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

COMMIT = "a" * 40


@dataclass
class Hub:
    """What it serves and how it misbehaves. `files` is repository → name → bytes."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    """Files whose bytes are not those of the checksum."""
    cut_after: list[int] = field(default_factory=list)
    """The connection of each download breaks after this many bytes; one number a download, then none."""
    ignore_ranges: bool = False
    instead: bytes | None = None
    """What every download is answered with, as a login page of a network is: status 200, whatever was asked for."""
    headers: dict[str, str] = field(default_factory=dict)
    """Further headers of every download."""
    more: bytes = b""
    """What follows behind the end of every file."""
    without_length: bool = False
    redirect_to: str = ""
    """Address of another host that sends the files, as the real hub has one."""
    fail_with: int = 0
    nonsense: bytes | None = None
    """What every question but a download is answered with."""
    downloads_of: dict[str, int] = field(default_factory=dict)
    params_of: dict[str, int] = field(default_factory=dict)
    searches: list[dict[str, list[str]]] = field(default_factory=list)
    """The query of every search."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, path, Range header) of every request."""
    tokens: set[str] = field(default_factory=set)
    hold: threading.Event | None = None
    """Downloads wait for this before they send anything."""
    sending: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def downloads(self) -> list[str]:
        """The Range headers of all downloads, in order."""
        return [span for method, path, span in self.requests if method == "GET" and "/resolve/" in path]


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Start serving; the caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = urlsplit(self.path).path
            hub.requests.append((self.command, path, self.headers.get("Range", "")))
            if token := self.headers.get("authorization"):
                hub.tokens.add(token)
            if hub.fail_with:
                return self._send(hub.fail_with, b"{}")
            if hub.nonsense is not None and path.startswith("/api/"):
                return self._send(200, hub.nonsense, {"Content-Type": "application/json"})
            if path == "/api/models":
                return self._search(parse_qs(urlsplit(self.path).query))
            if path.startswith("/api/models/"):
                return self._model(path.removeprefix("/api/models/"))
            repository, _, rest = path.removeprefix("/").partition("/resolve/")
            return self._file(repository, rest.partition("/")[2], body)

        def _search(self, query: dict[str, list[str]]) -> None:
            """By the words of names, as the hub does; a filter leaves only repositories with such files."""
            hub.searches.append(query)
            words = query.get("search", [""])[0].lower().split()
            kinds = tuple(f".{kind}" for kind in query.get("filter", []))
            found = [
                {
                    "id": name,
                    "downloads": hub.downloads_of.get(name, 0),
                    "gated": "manual" if name in hub.gated else False,
                    **({"gguf": {"total": hub.params_of[name]}} if name in hub.params_of else {}),
                }
                for name, files in hub.files.items()
                if all(word in name.lower() for word in words) and any(file.endswith(kinds) for file in files)
            ]
            found.sort(key=lambda one: -one["downloads"])
            limit = int(query.get("limit", ["1000"])[0])
            self._send(200, json.dumps(found[:limit]).encode(), {"Content-Type": "application/json"})

        def _model(self, repository: str) -> None:
            repository = repository.partition("/revision/")[0]
            if repository not in hub.files:
                return self._send(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})
            siblings = [
                {
                    "rfilename": name,
                    "size": len(content),
                    "blobId": "0" * 40,
                    "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134},
                }
                for name, content in hub.files[repository].items()
            ]
            answer = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings, "tags": []}
            return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def _file(self, repository: str, name: str, body: bool) -> None:
            if repository in hub.gated:
                return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            content = hub.files.get(repository, {}).get(name)
            if content is None:
                return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            digest = hashlib.sha256(content).hexdigest()
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
            if hub.redirect_to:
                headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": headers["ETag"]}
                return self._send(302, b"", {**headers, "Location": hub.redirect_to + self.path})
            if name in hub.damaged:
                content = bytes(byte ^ 1 for byte in content[:10]) + content[10:]
            status, start, span = 200, 0, self.headers.get("Range")
            if span and not hub.ignore_ranges:
                start, status = int(span.removeprefix("bytes=").split("-")[0]), 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if not body:
                return self._send(status, content[start:], headers, only_head=True)
            hub.sending.set()
            headers |= hub.headers
            if hub.instead is not None:
                return self._send(200, hub.instead, headers)
            if hub.hold is not None:
                hub.hold.wait(20)
            cut = hub.cut_after.pop(0) if hub.cut_after else None
            return self._send(status, content[start:] + hub.more, headers, cut=cut)

        def _send(
            self,
            status: int,
            content: bytes,
            headers: dict[str, str] | None = None,
            *,
            only_head: bool = False,
            cut: int | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if hub.without_length and self.command == "GET" and "/resolve/" in self.path:
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if only_head or self.command == "HEAD":
                return
            self.wfile.write(content[:cut] if cut is not None else content)
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
