"""HEAD wherever GET is (RFC 9110, section 9.3.2): the same status and headers; the server leaves out the body."""

from starlette.types import ASGIApp, Receive, Scope, Send

HEAD_ONLY = "head_only"  # state of a request: true where no body is wanted, so that an endless one need not begin


def with_head(methods: set[str]) -> set[str]:
    """A route's methods, as callers may use them."""
    return methods | {"HEAD"} if "GET" in methods else methods


def head_only(scope: Scope) -> bool:
    """Whether the caller wants the head alone: then nothing may be begun for the body's sake."""
    return bool(scope.get("state", {}).get(HEAD_ONLY))


class HeadMiddleware:
    """Routes see a GET. Everything around, and the server, sees the HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})[HEAD_ONLY] = True
        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send)
        finally:
            scope.update({**inner, "method": "HEAD"})  # the route, for logs and metrics
