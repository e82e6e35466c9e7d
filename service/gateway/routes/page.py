"""The page at `/`, its files, and the samples that it offers.

Public: the requests that the page then sends need a key where there are keys.
"""

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from service.gateway.access.auth import public
from service.gateway.errors import GatewayError
from service.gateway.page.answer import answer, answer_coded
from service.gateway.page.assets import ASK_AGAIN, HEADERS, INDEX, coded, media_type
from service.gateway.page.site import SampleFile, Site

router = APIRouter(include_in_schema=False, dependencies=[Depends(public)])


@router.get("/")
async def index(request: Request) -> Response:
    """The page itself."""
    return _sent(request, INDEX)


@router.get("/page/samples")
async def samples(request: Request) -> list[list[dict[str, Any]]]:
    """The page's samples: groups of media, each with its modality and the options of its content part."""
    groups = await asyncio.to_thread(_site(request).groups)
    return [[_described(one) for one in group] for group in groups]


@router.get("/page/samples/{name}")
async def sample(request: Request, name: str) -> Response:
    """One of those media."""
    groups = await asyncio.to_thread(_site(request).groups)
    found: Path | None = next((one.path for group in groups for one in group if one.path.name == name), None)
    if found is None:
        raise GatewayError("not_found", "There is no such sample.")
    content = await asyncio.to_thread(found.read_bytes)
    return answer_coded(request, coded(content), media_type(name), {**HEADERS, "cache-control": ASK_AGAIN})


@router.get("/page/{path:path}")
async def asset(request: Request, path: str) -> Response:
    """A file of the page."""
    return _sent(request, path)


def _described(sample: SampleFile) -> dict[str, Any]:
    return {"modality": sample.modality, "file": sample.path.name, "options": sample.options}


def _site(request: Request) -> Site:
    site: Site | None = request.app.state.site
    if site is None:
        raise GatewayError("not_found", "There is no such endpoint.")
    return site


def _sent(request: Request, path: str) -> Response:
    found, kept = _site(request).assets.find(path)
    if found is None:
        raise GatewayError("not_found", "There is no such endpoint.")
    return answer(request, found, {**HEADERS, "cache-control": kept})
