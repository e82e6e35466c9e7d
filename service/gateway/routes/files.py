"""/v1/files: upload once, refer to it by id from any later request. Another key's file is a 404."""

import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from service.gateway.access.auth import Access, Caller, Scope
from service.gateway.errors import GatewayError
from service.gateway.json_answer import json_answer
from service.gateway.media.files import FileInfo
from service.gateway.media.multipart import Form, read_form
from service.gateway.schema.documented import documented, form_body
from service.gateway.schema.resources import DeletedFile, File, FileList
from service.gateway.state import gateway_of

router = APIRouter(tags=["files"])
_Owner = Annotated[Caller, Depends(Access(Scope.FILES))]
_ID = re.compile(r"file-[0-9a-f]{32}")
_PURPOSE = re.compile(r"[a-z_]{1,32}")
# Purposes whose endpoint this service does not have: a file kept for one would never be read.
_WITHOUT_ENDPOINT = {
    "fine-tune": "fine-tuning is",
    "fine_tune": "fine-tuning is",
    "assistants": "assistants are",
    "evals": "evals are",
}
_UNSAFE = re.compile(r"[^A-Za-z0-9._ -]")
_SAFE_HEADERS = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
_LIFE = (3600, 30 * 86400)  # seconds, OpenAI's range; the operator's own limit may be shorter
_BODY = form_body(
    {
        "file": {"type": "string", "format": "binary", "description": "The medium, or the lines of a batch"},
        "purpose": {
            "type": "string",
            "default": "vision",
            "pattern": f"^{_PURPOSE.pattern}$",
            "description": "`batch` for the lines of a batch; of a medium any word",
        },
        "expires_after[anchor]": {
            "type": "string",
            "enum": ["created_at"],
            "description": "From when `expires_after[seconds]` counts. Default: created_at.",
        },
        "expires_after[seconds]": {
            "type": "integer",
            "minimum": _LIFE[0],
            "maximum": _LIFE[1],
            "description": "Life of the file (seconds). Default, and at most: the operator's limit.",
        },
    },
    ["file"],
)
_FileId = Annotated[str, Path(description="The id of an upload")]
_Limit = Annotated[int, Query(ge=1, le=10_000, description="Most files of one page (files)")]
_Order = Annotated[Literal["asc", "desc"], Query(description="Oldest or newest first")]
_After = Annotated[
    str | None,
    Query(pattern=f"^{_ID.pattern}$", description="The last id of the page before. Default: the first page."),
]
_Purpose = Annotated[str | None, Query(max_length=32, description="Files of this purpose alone. Default: all.")]


@router.post("/v1/files", response_model=None, responses=documented(File), openapi_extra=_BODY)
async def upload_file(request: Request, caller: _Owner) -> dict[str, Any]:
    """Keep a medium for later requests."""
    gateway = gateway_of(request)
    limits = replace(gateway.form_limits, file_fields={"file": gateway.sources.max_bytes}, max_files=1)
    async with gateway.lease(request, caller.tenant):
        form = await read_form(request.headers.get("content-type"), request.stream(), limits)
        if not form.files:
            raise GatewayError("invalid_request", "file is required.", param="file")
        file = form.files[0]
        name = _UNSAFE.sub("_", re.split(r"[/\\]", file.filename)[-1])[:128] or "upload"
        info = await gateway.files.add(caller.tenant, name, _purpose(form), file.data, file.sha256, _life(form))
    return _file(info)


@router.get("/v1/files", response_model=None, responses=documented(FileList))
async def list_files(
    request: Request,
    caller: _Owner,
    limit: _Limit = 1000,
    order: _Order = "desc",
    after: _After = None,
    purpose: _Purpose = None,
) -> Response:
    """The key's files, those beyond `after`, which need not be there any more."""
    files = await gateway_of(request).files.list(caller.tenant)
    chosen = [info for info in files if purpose in (None, info.purpose)]
    if order == "desc":
        chosen.reverse()
    if after is not None:
        chosen = [info for info in chosen if (info.id > after if order == "asc" else info.id < after)]
    shown = [_file(info) for info in chosen[:limit]]
    ends = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
    return await json_answer({"object": "list", "data": shown, **ends, "has_more": limit < len(chosen)})


@router.get("/v1/files/{file_id}", response_model=None, responses=documented(File))
async def get_file(request: Request, file_id: _FileId, caller: _Owner) -> dict[str, Any]:
    """Facts about a file."""
    return _file(await gateway_of(request).files.info(caller.tenant, _known(file_id)))


@router.delete("/v1/files/{file_id}", response_model=None, responses=documented(DeletedFile))
async def delete_file(request: Request, file_id: _FileId, caller: _Owner) -> dict[str, Any]:
    """Forget a file. The input of a batch stays until the batch has ended: cancel it first."""
    gateway = gateway_of(request)
    if (batch := await gateway.batches.reader_of(caller.tenant, _known(file_id))) is not None:
        raise GatewayError("file_in_use", f"{batch} reads the file until it has ended; cancel it first.")
    await gateway.files.delete(caller.tenant, file_id)
    return {"id": file_id, "object": "file", "deleted": True}


@router.get(
    "/v1/files/{file_id}/content",
    response_model=None,
    response_class=Response,
    responses=documented(None, "application/octet-stream"),
)
async def get_file_content(request: Request, file_id: _FileId, caller: _Owner) -> Response:
    """The file's bytes as uploaded."""
    files = gateway_of(request).files
    info = await files.info(caller.tenant, _known(file_id))
    headers = {**_SAFE_HEADERS, "content-length": str(info.bytes)}
    return StreamingResponse(files.pieces(caller.tenant, info), media_type="application/octet-stream", headers=headers)


def _purpose(form: Form) -> str:
    purpose = form.fields.get("purpose", ["vision"])[0]
    if purpose in _WITHOUT_ENDPOINT:
        words = f"purpose is {purpose}, but {_WITHOUT_ENDPOINT[purpose]} not offered."
        raise GatewayError("invalid_request", words, param="purpose")
    if not _PURPOSE.fullmatch(purpose):
        raise GatewayError("invalid_request", "purpose must be one word of a to z and _.", param="purpose")
    return purpose


def _life(form: Form) -> int | None:
    """Seconds that the caller wants the file kept, from its creation."""
    anchor = form.fields.get("expires_after[anchor]", ["created_at"])[0]
    if anchor != "created_at":
        raise GatewayError("invalid_request", "expires_after.anchor must be created_at.", param="expires_after.anchor")
    given = form.fields.get("expires_after[seconds]", [""])[0]
    if given and not (given.isdecimal() and _LIFE[0] <= int(given[:10]) <= _LIFE[1]):
        reason = f"expires_after.seconds must be {_LIFE[0]} to {_LIFE[1]}."
        raise GatewayError("invalid_request", reason, param="expires_after.seconds")
    return int(given) if given else None


def _known(file_id: str) -> str:
    if not _ID.fullmatch(file_id):
        raise GatewayError("file_not_found", "There is no such file.")
    return file_id


def _file(info: FileInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "object": "file",
        "bytes": info.bytes,
        "created_at": info.created,
        "expires_at": info.expires,
        "filename": info.filename,
        "purpose": info.purpose,
        "status": "processed",
    }
