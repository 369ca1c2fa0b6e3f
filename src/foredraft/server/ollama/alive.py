"""What clients ask to see whether somebody is there: / and /api/version."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from foredraft.server.deps import ServicesOf
from foredraft.server.guard import is_probe


class _Probe(APIRoute):
    """A route for programs: a browser finds the app there."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or not is_probe(scope, Headers(scope=scope)):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(tags=["Ollama"])
probes = APIRouter(route_class=_Probe, include_in_schema=False)


@probes.api_route("/", methods=["GET", "HEAD"])
async def alive() -> Response:
    """What Ollama's clients look for."""
    return PlainTextResponse("Ollama is running")


@router.get("/api/version")
@router.head("/api/version", include_in_schema=False)
async def version(services: ServicesOf) -> dict[str, str]:
    """The version of Ollama whose API this is: clients refuse older ones, and read nothing but three numbers."""
    return {"version": services.settings.ollama_version}
