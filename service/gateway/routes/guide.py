"""The site of all pages, where it was built."""

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import RedirectResponse

from service.gateway.access.auth import public
from service.gateway.errors import GatewayError
from service.gateway.page.answer import answer
from service.gateway.page.guide import Guide

router = APIRouter(include_in_schema=False, dependencies=[Depends(public)])


@router.get("/docs/guide")
async def guide() -> Response:
    """The site's links are relative to its folder."""
    return RedirectResponse("/docs/guide/", status_code=308)


@router.get("/docs/guide/{path:path}")
async def guide_file(request: Request, path: str) -> Response:
    """A page or a file of the site."""
    built: Guide | None = request.app.state.guide
    found = None if built is None else built.find(path)
    if built is None or found is None:
        hint = "" if built else " `make docs` builds the guide; the gateway finds it at its next start."
        raise GatewayError("not_found", f"There is no such page.{hint}")
    return answer(request, found, built.headers)
