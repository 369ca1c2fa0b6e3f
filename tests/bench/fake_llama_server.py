"""A stand-in for llama-server, for the tests of `foredraft bench --against`: it speaks the same HTTP and knows the same
options, and it writes down who asked what. `program` makes an executable of it.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HELP = """\
-m,    --model FNAME      model path to load
--port PORT               port to listen
-tb,   --threads-batch N  number of threads to use during batch and prompt processing
--offline                 forces use of cache
-cram, --cache-ram N      set the maximum cache size in MiB
-td,   --threads-draft N  number of threads to use during generation of the draft
"""
NEW = """\
-md,   --spec-draft-model, --model-draft FNAME
       --spec-draft-n-max N
       --draft-max N      the argument has been removed
       --spec-type none,draft-simple,ngram-simple
"""
OLD = """\
-md,   --model-draft FNAME
       --draft-max N
"""


def program(folder: Path, *, mode: str = "new", answers: dict[str, list[int]] | None = None) -> tuple[Path, Path]:
    """An executable in `folder` and the file it logs to. `mode`: new or old options; broken (--help fails); other (of
    another program); dies (at its start); leaves (when asked); refuses (every request). `answers`: tokens by prompt,
    as JSON."""
    path, log = folder / "llama-server", folder / "asked.jsonl"
    log.touch()
    (folder / "answers.json").write_text(json.dumps(answers or {}), encoding="utf-8")
    path.write_text(
        f"#!{sys.executable}\nimport runpy\n"
        f"runpy.run_path({__file__!r}, {{'MODE': {mode!r}, 'FOLDER': {str(folder)!r}}}, '__main__')\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path, log


def asked(log: Path) -> list[dict[str, Any]]:
    """What the log says, in order."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b'{"status":"ok"}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _note(path=self.path, **body)
        if _mode() == "leaves":
            os._exit(7)
        if _mode() == "refuses":
            self._answer(b'{"error":"no such thing"}', 400)
        elif self.path == "/completion":
            answers = json.loads((_folder() / "answers.json").read_text(encoding="utf-8"))
            tokens = answers.get(json.dumps(body["prompt"]), list(range(body["n_predict"])))
            self._answer(json.dumps({"tokens": tokens[: body["n_predict"]]}).encode())
        else:
            self._answer(b'data: {"choices":[{"text":"a"}]}\n\ndata: [DONE]\n\n')

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bytes, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _mode() -> str:
    return str(globals().get("MODE", "new"))


def _folder() -> Path:
    return Path(globals()["FOLDER"])


def _note(**what: Any) -> None:
    line = json.dumps({"who": "theirs", "pid": os.getpid(), "arguments": sys.argv[1:], **what})
    with (_folder() / "asked.jsonl").open("a", encoding="utf-8") as log:
        log.write(line + "\n")


def main() -> None:
    arguments, mode = sys.argv[1:], _mode()
    if "--help" in arguments:
        print("usage: something else" if mode == "other" else HELP + (OLD if mode == "old" else NEW))
        if mode == "broken":
            sys.exit("error while loading shared libraries: libllama.so")
        return
    if "--version" in arguments:
        print("version: 1234 (abcdef)")
        return
    if mode == "dies":
        sys.exit("error: invalid argument: --threads-batch")
    _note(path="started")
    ThreadingHTTPServer(("127.0.0.1", int(arguments[arguments.index("--port") + 1])), _Handler).serve_forever()


if __name__ == "__main__":
    main()
