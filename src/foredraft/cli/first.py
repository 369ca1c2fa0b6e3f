"""`foredraft` alone, typed by a person: what there is to do, in four lines."""

from __future__ import annotations

import os
import sys

from foredraft.cli.words import language

OFFER = {
    "en": """\
demo   see what a draft does, in ten seconds
chat   talk to a model, here in the terminal
app    the same in the browser (or press Enter)
help   every command; `foredraft get` lists models to download""",
    "ja": """\
demo   ドラフトの効果を 10 秒で見る
chat   この端末でモデルと話す
app    ブラウザーで話す（Enter でも始まります）
help   すべてのコマンドを表示（`foredraft get` はダウンロードできるモデルの一覧）""",
}


def someone_is_there() -> bool:
    """Whether a person can read and answer: both ways lead to a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def choose() -> list[str]:
    """Offer what to do; the arguments of what was typed: any command with its arguments, or nothing, which is the app.
    Ctrl-D leaves."""
    import shlex

    print(OFFER[language()])
    try:
        said = input("> ").strip()
    except EOFError:
        print()
        sys.exit(0)
    return shlex.split(said.removeprefix("foredraft "), posix=os.name == "posix") or ["app"]
