"""Load a model: which, with what context, and whether it will fit with its draft."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from nicegui import ui

from foredraft.config.load_settings import NUMERICS
from foredraft.core.errors import ForedraftError
from foredraft.engines.llamacpp.options import CPU
from foredraft.models.memory import LoadPlan, estimate
from foredraft.models.recommend import choose_draft
from foredraft.models.store import ModelFile
from foredraft.runtime.managed_model import LoadSpec
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, select
from foredraft.ui.names import size_words
from foredraft.ui.state import AppState, Page

CONTEXTS = (2048, 4096, 8192, 16384, 32768, 65536, 131072)


async def open_load(page: Page, chosen: str = "") -> None:
    t, shelf = page.words, page.app.shelf
    models = [model for model in await asyncio.to_thread(shelf.models) if model.usable]
    wish: dict[str, Any] = {"model": chosen or (models[0].name if models else ""), "context": 0}
    by_name = {model.name: model for model in models}
    with dialog(t("load.title")) as made:
        if not models:
            Tag("p", t("load.none"))
            button(t("load.get"), lambda: ui.navigate.to("/models"), kind="primary")
            return

        @ui.refreshable
        def needs() -> None:
            _needs(page, by_name[wish["model"]], wish.get("draft"), wish["context"])

        async def choose(**values: Any) -> None:
            wish.update(values)
            wish["draft"] = await asyncio.to_thread(_draft_of, page, by_name[wish["model"]])
            needs.refresh()

        names = {name: f"{name} ({size_words(model.size_bytes)})" for name, model in by_name.items()}
        select(t("load.model"), names, wish["model"], lambda name: choose(model=name))
        contexts = {"0": t("load.context_auto"), **{str(n): f"{n:,}" for n in CONTEXTS}}
        select(t("load.context"), contexts, "0", lambda n: choose(context=int(n)))
        wish["numerics"] = "auto"

        @ui.refreshable
        def numerics_help() -> None:
            Tag("p", t(f"load.numerics_{wish['numerics']}_help")).classes("fd-help")

        def choose_numerics(mode: str) -> None:
            wish["numerics"] = mode
            numerics_help.refresh()

        modes = {mode: t(f"load.numerics_{mode}") for mode in NUMERICS}
        select(t("load.numerics"), modes, "auto", choose_numerics)
        numerics_help()
        needs()
        ui.timer(0.01, choose, once=True)

        def load() -> None:
            made.close()
            numerics = wish["numerics"] if wish["numerics"] != "auto" else None
            start_load(page.app, by_name[wish["model"]], wish["context"] or None, numerics=numerics)

        button(t("load.load"), load, kind="primary wide")


def _draft_of(page: Page, model: ModelFile) -> ModelFile | None:
    """The draft that "auto" will take."""
    store = page.app.shelf.store
    try:
        return choose_draft(model, store).draft if store is not None else None
    except (ForedraftError, OSError):
        return None


def _needs(page: Page, model: ModelFile, draft: ModelFile | None, context: int) -> None:
    t = page.words
    if model.facts is None:
        return
    plan = LoadPlan(context=context or None, draft_gpu_layers=0 if page.app.draft_device == CPU else -1)
    need = estimate(model.facts, draft.facts if draft else None, plan)
    with Tag("div", "").classes("fd-card" if need.fits else "fd-card warn"):
        total, free = size_words(need.total), size_words(need.machine.ram + need.machine.video)
        Tag("h3", t("load.needs", total=total, free=free))
        Tag("p", t("load.parts", weights=size_words(need.main.weights), kv=size_words(need.main.kv)))
        if draft is not None and need.draft is not None:
            Tag("p", t("load.with_draft", draft=draft.name, size=size_words(need.draft.total)))
        if not need.fits:
            Tag("p", t("load.too_large"))


def start_load(
    app: AppState,
    model: ModelFile,
    context: int | None = None,
    draft: str | None = "auto",
    numerics: str | None = None,
) -> None:
    """Load in the background; every page sees how far it is, and why it failed. `numerics` None is as configured."""
    spec = _spec(app, model, draft)
    if numerics:
        spec = dataclasses.replace(spec, settings={**spec.settings, "numerics": numerics})
    if context:
        spec = dataclasses.replace(spec, settings={**spec.settings, "context": context})
    if app.draft_device and app.machine.gpus():
        spec = dataclasses.replace(spec, settings={**spec.settings, "draft_device": app.draft_device})
    app.services.load_failure = None

    async def load() -> None:
        runtime = app.services.runtime
        states = [state for state in runtime.models() if state.kind == spec.kind and state.info is not None]
        others = [state.id for state in states if state.id != spec.id]
        try:
            for other in others:
                await runtime.unload(other)
            await runtime.load(spec)
            # what the next start loads: known to load, or nobody without a terminal could get out of it again
            app.write(lambda: app.chats.set_preference("last_model", model.name))
        except Exception as error:  # the loader's own faults are told too  # noqa: BLE001
            app.services.load_failure = error
        app.shelf.forget()
        app.hub.publish("models")

    task = asyncio.get_running_loop().create_task(load())
    app.tasks.add(task)
    task.add_done_callback(app.tasks.discard)


def _spec(app: AppState, model: ModelFile, draft: str | None) -> LoadSpec:
    """With the user's settings for this model, where the server has a shelf."""
    shelf = app.services.shelf
    if shelf is None:
        return LoadSpec(str(model.path), draft=draft, id=model.name, ttl_s=None)
    return dataclasses.replace(shelf.spec(model.name, draft), ttl_s=None)


async def unload(page: Page) -> None:
    state = page.app.loaded()
    if state is not None:
        try:
            await page.app.services.runtime.unload(state.id)
        except ForedraftError as error:
            page.app.services.load_failure = error
        page.app.hub.publish("models")
