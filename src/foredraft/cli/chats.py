"""`foredraft chats`: the chats that `foredraft chat` and the app have kept."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli import terminal
from foredraft.cli.history import LAST, chat_named, history
from foredraft.cli.models import Json
from foredraft.cli.tables import print_table
from foredraft.cli.words import t
from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.reasons import Reason, one_of

if TYPE_CHECKING:
    from foredraft.chats import Chat, ChatStore

chats = typer.Typer(add_completion=False, help="Chats of the terminal and the app: list, show, export, delete, go on.")

ID = Annotated[str, typer.Argument(metavar="ID", help="Of `foredraft chats`, or its first letters; last: the newest.")]
FORMS = {"md": "to_markdown", "json": "to_json"}


@chats.callback(invoke_without_command=True)
def every(ctx: typer.Context) -> None:
    """List the chats, the newest first."""
    if ctx.invoked_subcommand is None:
        ls()


@chats.command()
def ls(
    words: Annotated[list[str] | None, typer.Argument(help="Only chats with these words.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.", min=1)] = 30,
    json_output: Json = False,
) -> None:
    """List the chats, the newest first; with words those that hold them."""
    with history() as store:
        found = [hit.chat for hit in store.search(" ".join(words), limit)] if words else store.recent(limit)
        rows = [_row(store, chat) for chat in found]
        more = 0 if words else store.count() - len(found)
    if json_output:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not rows:
        print(t()("chats.none_found" if words else "cli.chats.none"))
        return
    cells = [(row["id"], _when(row["changed"]), str(row["messages"]), row["title"] or "–") for row in rows]
    print_table(
        [t()(f"cli.chats.{name}") for name in ("id", "changed", "messages", "title")], cells, right=frozenset({2})
    )
    if more:
        print(t()("cli.chats.more", n=more, all=limit + more), file=sys.stderr)


@chats.command()
def show(chat: ID = LAST, json_output: Json = False) -> None:
    """Print a chat."""
    with history() as store:
        text = _exported(store, chat_named(store, chat), "json" if json_output else "md")
    print(text.translate(terminal.CONTROL).rstrip() if sys.stdout.isatty() else text.rstrip())


@chats.command()
def export(
    chat: ID = LAST,
    form: Annotated[str, typer.Option("--format", help="md (to read) or json (the app can import it).")] = "md",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A new file; default: standard output.")] = None,
) -> None:
    """Write a chat as Markdown or JSON."""
    if form not in FORMS:
        raise ParameterError("format", form, one_of(FORMS))
    with history() as store:
        text = _exported(store, chat_named(store, chat), form)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        with out.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise ForedraftError(Reason("there_already", {"path": str(out)}), hint=Reason("hint_there_already")) from None
    print(out)


@chats.command()
def rm(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Whole ids.")] = None,
    every_one: Annotated[bool, typer.Option("--all", help="All chats.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete chats for good, also from the app."""
    if bool(ids) == every_one:
        raise ParameterError("id", " ".join(ids or ()), Reason("allowed_chat_ids"))
    with history() as store:
        found = [chat_named(store, one, whole=True) for one in ids or ()] or store.recent(max(1, store.count()))
        if not yes and found:
            if not sys.stdin.isatty():
                raise ForedraftError(Reason("needs_yes"), hint=Reason("hint_needs_yes"))
            named = found[0].title or found[0].id
            typer.confirm(t()("cli.chats.delete", n=len(found), title=named), abort=True)
        for chat in found:
            store.delete(chat.id)
    print(t()("cli.chats.deleted", n=len(found)))


@chats.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def resume(ctx: typer.Context, chat: ID = LAST) -> None:
    """Go on with a chat: `foredraft chat --resume ID`, with that command's options."""
    from foredraft.cli.main import app

    app(["chat", f"--resume={chat}", *ctx.args])


def _exported(store: ChatStore, chat: Chat, form: str) -> str:
    from foredraft.chats import transfer

    text: str = getattr(transfer, FORMS[form])(store, chat)
    return text


def _row(store: ChatStore, chat: Chat) -> dict[str, Any]:
    """A chat as plain values; times are Unix seconds."""
    return {
        "id": chat.id,
        "title": chat.title,
        "created": chat.created,
        "changed": chat.changed,
        "messages": len(store.branch_ids(chat.id)),
    }


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
