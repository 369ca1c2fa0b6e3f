"""The paths of LM Studio's SDK protocol, and what is behind each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import APIRouter
from starlette.websockets import WebSocket

from foredraft.server.context import Services
from foredraft.server.control import foredraft_version
from foredraft.server.guard import shows_key
from foredraft.server.lmstudio.sdk import files, loads, models, predictions, repository, system, texts
from foredraft.server.lmstudio.sdk.cards import Domain
from foredraft.server.lmstudio.sdk.endpoints import Namespace
from foredraft.server.lmstudio.sdk.socket import Socket

router = APIRouter(tags=["LM Studio SDK"])


@router.get("/lmstudio-greeting")
async def greeting() -> dict[str, bool]:
    """What LM Studio's libraries ask first: whether somebody here speaks their protocol."""
    return {"lmstudio": True}


@router.get("/lms-status")
async def status() -> dict[str, Any]:
    """The same, with who that is."""
    return {"lmstudio": True, "status": "running", "name": "foredraft", "version": foredraft_version()}


def _of(domain: Domain, act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """An endpoint that both kinds of models have."""

    async def call(services: Services, *arguments: Any) -> Any:
        return await act(services, *arguments, domain)

    return call


def _models(domain: Domain) -> Namespace:
    return Namespace(
        calls={
            "listLoaded": (None, _of(domain, models.loaded)),
            "getModelInfo": (models.Lookup, _of(domain, models.info)),
            "getLoadConfig": (models.Which, _of(domain, models.load_config)),
            "getBasePredictionConfig": (models.Which, _of(domain, models.prediction_config)),
            "getInstanceProcessingState": (models.Lookup, _of(domain, models.processing_state)),
            "estimateModelUsage": (models.Estimate, models.estimate),
            "unloadModel": (loads.Unload, loads.unload),
            "tokenize": (texts.Text, _of(domain, texts.tokenize)),
            "countTokens": (texts.Text, _of(domain, texts.count)),
        },
        channels={
            "getOrLoad": (loads.GetOrLoad, _of(domain, loads.get_or_load)),
            "loadModel": (loads.LoadModel, _of(domain, loads.load_new)),
        },
    )


def _and(of: Namespace, more: Namespace) -> Namespace:
    return Namespace({**of.calls, **more.calls}, {**of.channels, **more.channels})


NAMESPACES = {
    "/llm": _and(
        _models("llm"),
        Namespace(
            calls={
                "applyPromptTemplate": (texts.ApplyTemplate, texts.apply_template),
                "preloadDraftModel": (texts.PreloadDraft, texts.preload_draft),
            },
            channels={
                "predict": (predictions.Predict, predictions.predict),
                "completeRawText": (predictions.CompleteRawText, predictions.complete),
            },
        ),
    ),
    "/embedding": _and(_models("embedding"), Namespace(calls={"embedString": (texts.TextToEmbed, texts.embed)})),
    "/system": Namespace(
        calls={
            "listDownloadedModels": (None, system.downloaded),
            "listDownloadedModelVariants": (system.Variants, system.variants),
            "version": (None, system.version),
            "info": (None, system.info),
            "notify": (system.Notice, system.notify),
            "startHttpServer": (None, system.already),
            "setExperimentFlag": (None, system.already),
            "getExperimentFlags": (None, system.nothing),
        },
        channels={"alive": (None, system.alive)},
    ),
    "/files": Namespace(calls={"uploadFileBase64": (files.Upload, files.upload)}),
    "/repository": Namespace(
        calls={
            "searchModels": (repository.Search, repository.search),
            "getModelDownloadOptions": (repository.Options, repository.options),
        },
        channels={"downloadModel": (repository.Download, repository.download)},
    ),
    "/diagnostics": Namespace(calls={}, channels={"streamLogs": (None, system.stream_logs)}),
    "/plugins": Namespace(calls={}),
    "/runtime": Namespace(calls={"listEngines": (None, system.nothing)}),
}
"""Whatever else is asked for is answered with an error that says so."""


def _serve(path: str, namespace: Namespace) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        services = cast(Services, websocket.app.state.services)
        key = services.settings.api_key
        await Socket(websocket, services, namespace, known=not key or shows_key(websocket.headers, key)).serve()

    router.add_api_websocket_route(path, endpoint)


for _path, _namespace in NAMESPACES.items():
    _serve(_path, _namespace)
