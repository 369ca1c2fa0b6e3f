"""The server page, for developers: address, key, log, requests, example calls."""

from __future__ import annotations

import asyncio
import json
import time

from nicegui import ui

from foredraft.runtime.managed_model import ModelState
from foredraft.server.address import url
from foredraft.ui.components.elements import Tag, icon_button, table
from foredraft.ui.frame import begin, frame, notices, page_head
from foredraft.ui.state import AppState, Page

SHOWN = 200
APP_PATHS = ("/_foredraft/", "/_nicegui")
SAID = ("method", "path", "status", "seconds")


def register(app: AppState) -> None:
    @ui.page("/server", response_timeout=20)
    def server() -> None:
        server_page(app)


def server_page(app: AppState) -> None:
    page = begin(app, "rail.server")
    t, settings = page.words, app.services.settings
    address = f"{url(settings.host, settings.port)}/v1"
    with frame(page, "server", classes="no-list no-side", skip_to="fd-page"), Tag("div", "").classes("fd-main"):
        notices(page)
        with Tag("div", "", id="fd-page", tabindex="-1").classes("fd-page"), Tag("div", "").classes("fd-page-in"):
            page_head(page, t("server.title"))
            with Tag("div", "").classes("fd-card"):
                with Tag("div", "").classes("fd-row"):
                    Tag("b", t("server.address"))
                    Tag("code", address)
                    _copy(page, address, t("server.address"))
                Tag("p", t("server.key_on" if settings.api_key else "server.key_off"))
            _models(page)
            Tag("h2", t("server.examples"))
            for name, text in examples(address, bool(settings.api_key)).items():
                with Tag("div", "").classes("fd-code"):
                    with Tag("div", "").classes("fd-code-head"):
                        Tag("span", name)
                        _copy(page, text, name)
                    Tag("pre", text, tabindex="0", role="region", aria_label=name)
            Tag("h2", t("server.log"))
            _log(page)


def _copy(page: Page, text: str, name: str) -> None:
    t = page.words
    done = json.dumps(t("message.copied"))
    script = f"fd.copyText({json.dumps(text)}); fd.announce({done})"
    icon_button("content_copy", t("server.copy", name=name), lambda: ui.run_javascript(script), small=True)


def _models(page: Page) -> None:
    t = page.words

    @ui.refreshable
    def rows() -> None:
        states = page.app.services.runtime.models()
        if states:
            head = [t(f"server.{name}") for name in ("model", "status", "process", "answers", "tokens", "accepted")]
            data = [
                (
                    state.id,
                    f"{t('server.status_' + state.status)} · {t('spec.status_' + state.speculation.status)}",
                    _process(page, state),
                    state.totals.answers,
                    state.totals.tokens,
                    "–" if state.totals.acceptance is None else f"{state.totals.acceptance:.0%}",
                )
                for state in states
            ]
            with Tag("div", "", tabindex="0", role="region", aria_label=t("server.models")).classes("fd-scroll-x"):
                table(head, data, numbers_from=3, caption=t("server.models"))

    Tag("h2", t("server.models"))
    rows()
    page.refreshers["models"] = rows.refresh


def _process(page: Page, state: ModelState) -> str:
    """Where it lies, and how often that process has died."""
    t = page.words
    pids = [place.pid for place in state.places]
    own = " · ".join(t("server.own_process", pid=pid) for pid in pids if pid is not None)
    here = t("server.this_process") if None in pids else ""
    deaths = t("server.deaths", n=state.deaths) if state.deaths else ""
    return " · ".join(filter(None, (own, here, deaths))) or "–"


def _log(page: Page) -> None:
    """The log as it grows. Prompts and answers are not in it."""
    t, log = page.words, page.app.services.event_log
    lines = [_line(entry.as_dict()) for entry in log.recent(SHOWN) if _told(entry.as_dict())]
    shown = Tag("pre", "\n".join(lines) or t("server.no_log"), tabindex="0", role="log", aria_label=t("server.log"))
    shown.classes("fd-log")
    client = ui.context.client

    async def follow() -> None:
        after = log.recent(1)[-1].number if log.recent(1) else 0
        async for entry in log.follow(after):
            if not _told(entry.as_dict()):
                continue
            lines.append(_line(entry.as_dict()))
            del lines[:-SHOWN]
            with client:
                shown.set_text("\n".join(lines))

    task = asyncio.get_running_loop().create_task(follow())
    client.on_delete(task.cancel)


def _told(entry: dict[str, object]) -> bool:
    """Whether an entry says something: the app fetches its own files and streams without end."""
    return not (entry["kind"] == "request" and str(entry.get("path", "")).startswith(APP_PATHS))


def _line(entry: dict[str, object]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(float(str(entry.pop("at")))))
    kind, message = entry.pop("kind"), entry.pop("message")
    entry.pop("number")
    # A request's message says these already.
    more = " ".join(f"{name}={value}" for name, value in entry.items() if kind != "request" or name not in SAID)
    return f"{at}  {kind:<8} {message}  {more}".rstrip()


def examples(address: str, key: bool) -> dict[str, str]:
    """Calls to try, by language."""
    header = ' \\\n  -H "Authorization: Bearer $FOREDRAFT_KEY"' if key else ""
    return {
        "curl": f"""curl {address}/chat/completions{header} \\
  -H "Content-Type: application/json" \\
  -d '{{"messages": [{{"role": "user", "content": "Hello"}}], "stream": true}}'""",
        "Python": f"""from openai import OpenAI

client = OpenAI(base_url="{address}", api_key="{"YOUR KEY" if key else "-"}")
answer = client.chat.completions.create(model="default", messages=[{{"role": "user", "content": "Hello"}}])
print(answer.choices[0].message.content)
print(answer.usage.completion_tokens_details)  # accepted and rejected draft tokens""",
    }
