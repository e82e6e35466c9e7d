"""An asset as an answer: compressed for a browser that takes that, 304 for one that has it already."""

import re
from collections.abc import Mapping

from fastapi import Request, Response

from service.gateway.page.assets import Asset, Coded

_CODING = "content-encoding"
_ZERO = re.compile(r";q=0(\.0*)?$")


def answer(request: Request, asset: Asset, headers: Mapping[str, str]) -> Response:
    """The asset's bytes with these headers."""
    headers = {**headers, "vary": "accept-encoding"}
    if not takes_gzip(request.headers.get("accept-encoding", "")):
        return answer_coded(request, asset.plain, asset.media_type, headers)
    return answer_coded(request, asset.gzip, asset.media_type, {**headers, _CODING: "gzip"})


def answer_coded(request: Request, body: Coded, media_type: str, headers: Mapping[str, str]) -> Response:
    """The body, or 304 where the browser has it (RFC 9110, 13.1.2)."""
    headers = {**headers, "etag": body.etag}
    if body.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={name: value for name, value in headers.items() if name != _CODING})
    return Response(body.content, media_type=media_type, headers=headers)


def takes_gzip(accepted: str) -> bool:
    """Whether `accept-encoding` names gzip, and not with the weight 0."""
    wanted = [part.replace(" ", "").lower() for part in accepted.split(",")]
    return any(part.partition(";")[0] == "gzip" and not _ZERO.search(part) for part in wanted)
