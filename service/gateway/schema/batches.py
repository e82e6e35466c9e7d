"""The body of POST /v1/batches, and the batch object."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from service.gateway.schema.body import BodyModel
from service.gateway.schema.response_bodies import Metadata

Endpoint = Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]


class BatchBody(BodyModel):
    """POST /v1/batches: the requests of an uploaded file, run when nothing more urgent waits."""

    input_file_id: Annotated[str, StringConstraints(max_length=64)] = Field(
        description="A file of purpose `batch`: JSON lines of custom_id, method, url and body"
    )
    endpoint: Endpoint = Field(description="The url of every line")
    completion_window: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}[smhd]$")] = Field(
        default="24h", description="Time until what has not run is given up, 7 days at most (s, m, h or d)"
    )
    metadata: Metadata | None = Field(default=None, description="Your own names and values, given back")


class BatchError(BaseModel):
    code: str
    message: str
    param: str | None
    line: int | None


class BatchErrors(BaseModel):
    object: Literal["list"]
    data: list[BatchError]


class BatchCounts(BaseModel):
    total: int
    completed: int
    failed: int


class BatchObject(BaseModel):
    """Times in Unix seconds, null where not reached. Files appear once the batch has ended."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchCounts
    metadata: dict[str, str] | None


class BatchList(BaseModel):
    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool
