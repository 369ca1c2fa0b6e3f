"""Open files for real, one after the other: each in a fork of a process that has the library loaded, so that a death
costs nothing and the next file does not pay for the imports.

    python -m tests.harden.really          # "trial PATH" or "load PATH" on each line, an exit status comes back

Where there is no safe fork (macOS, Windows) a process does one piece of work and is replaced.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

FORKS = sys.platform == "linux"
PATIENCE_S = 60
ENDED, REFUSED, HUNG = 0, 3, -signal.SIGALRM if FORKS else -1000
"""Statuses: it went well, a typed error said no, it took longer than `PATIENCE_S`. Everything else is a death."""


class Opener:
    """Asks such a process. What a death said is in `words`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.words = ""

    def trial(self, path: Path) -> int:
        """What the trial of a new file does; its status."""
        return self._ask("trial", path)

    def load(self, path: Path) -> int:
        """A load without a trial, as the server loads, and two short answers; its status."""
        return self._ask("load", path)

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def _ask(self, work: str, path: Path) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.harden.really"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{work} {path}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if FORKS:
            status, _, self.words = said.strip().partition(" ")
            return int(status)
        self.close()
        return int(said) if said.strip() else 1


def _serve() -> None:
    import foredraft.engines.llamacpp
    import foredraft.models.template_sandbox
    import foredraft.server.loading  # noqa: F401 - so that no fork has to
    from foredraft import child
    from foredraft.engines.llamacpp import safe_load as trial
    from foredraft.engines.llamacpp.library import library

    os.environ["GGML_NO_BACKTRACE"] = "1"
    child.no_core_file()
    library()
    trial.require_survival = lambda path: None  # loads are tried without their trial
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        work, _, path = line.strip().partition(" ")
        status, words = _in_a_fork(work, path) if FORKS else (_work(work, path), "")
        answers.write(f"{status} {words}\n")
        answers.flush()
        if not FORKS:
            return


def _in_a_fork(work: str, path: str) -> tuple[int, str]:
    said = os.memfd_create("said")
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_S)
        os.dup2(said, 2)
        os.dup2(said, 1)
        code = 70
        try:
            code = _work(work, path)
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    words = ""
    if code not in (ENDED, REFUSED):
        end = os.lseek(said, 0, os.SEEK_END)
        os.lseek(said, max(0, end - 1000), os.SEEK_SET)
        words = " | ".join(os.read(said, 1000).decode("utf-8", "replace").split("\n")[-4:]).strip(" |")
    os.close(said)
    return code, words


def _work(work: str, path: str) -> int:
    from foredraft.core.errors import ForedraftError
    from foredraft.engines.llamacpp import trial_child

    try:
        if work == "trial":
            trial_child._load(Path(path))
        else:
            _load(path)
    except ForedraftError:
        return REFUSED
    except BaseException:  # noqa: BLE001 - told to who asked
        import traceback

        traceback.print_exc()
        return 70
    return ENDED


def _load(path: str) -> None:
    from foredraft.models.facts import read_facts
    from foredraft.pair.llm import LLM
    from foredraft.runtime.managed_model import LoadSpec
    from foredraft.server.loading import load_pair

    kind = "embedding" if read_facts(Path(path)).kind == "embedding" else "text"
    model = load_pair(LoadSpec(path, None, kind=kind), lambda part, share: None)
    try:
        if isinstance(model, LLM):
            model.generate("Hello, 漢字 \U0001f642 world", max_tokens=8)
            model.chat("What is 2 + 3?", max_tokens=8).result  # noqa: B018 - waits for the answer
        else:
            model.read(["Hello, 漢字 \U0001f642 world"])
    finally:
        model.close()


if __name__ == "__main__":
    _serve()
