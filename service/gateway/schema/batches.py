"""The body of POST /v1/batches, and the batch object."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from service.gateway.schema.answers import FirstId, HasMore, LastId
from service.gateway.schema.body import BodyModel
from service.gateway.schema.responses.bodies import Metadata

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
    metadata: Metadata | None = Field(default=None, description="Your own names and values, given back. Default: none.")


class BatchError(BaseModel):
    """A fault of the file of requests."""

    code: str = Field(description="The fault, as a word for programs")
    message: str = Field(description="The fault, in words")
    param: str | None = Field(description="The field of the line")
    line: int | None = Field(description="The line, from 1 (lines)")


class BatchErrors(BaseModel):
    """Reasons why the file of requests is no batch."""

    object: Literal["list"]
    data: list[BatchError] = Field(description="The faults, the first of them")


class BatchCounts(BaseModel):
    """Numbers of requests in all, and of those that have ended."""

    total: int = Field(description="All of the file (requests)")
    completed: int = Field(description="With an answer (requests)")
    failed: int = Field(description="With an error (requests)")


class BatchObject(BaseModel):
    """Times in Unix seconds, null where not reached. Files appear once the batch has ended."""

    id: str = Field(description="The batch's name")
    object: Literal["batch"]
    endpoint: str = Field(description="The url of every line")
    errors: BatchErrors | None = Field(description="Reasons why the file was refused; null where it was not")
    input_file_id: str = Field(description="The file of requests")
    completion_window: str = Field(description="As it was asked for")
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ] = Field(description="State of the batch; `failed`: the file is no batch")
    output_file_id: str | None = Field(description="The file of answers, once it has ended")
    error_file_id: str | None = Field(description="The file of errors, once it has ended and where there are any")
    created_at: int = Field(description="Time it was made (Unix seconds)")
    in_progress_at: int | None = Field(description="Time its first line ran (Unix seconds)")
    expires_at: int = Field(description="Time at which the rest of its lines is given up (Unix seconds)")
    finalizing_at: int | None = Field(description="Time its last line had ended (Unix seconds)")
    completed_at: int | None = Field(description="Time its files were there (Unix seconds)")
    failed_at: int | None = Field(description="Time its file was refused (Unix seconds)")
    expired_at: int | None = Field(description="Time it was given up (Unix seconds)")
    cancelling_at: int | None = Field(description="Time its end was asked for (Unix seconds)")
    cancelled_at: int | None = Field(description="Time it had ended by that (Unix seconds)")
    request_counts: BatchCounts = Field(description="Numbers of requests in all, and of those that have ended")
    metadata: dict[str, str] | None = Field(description="As it was sent")


class BatchList(BaseModel):
    """A page of batches, the newest first."""

    object: Literal["list"]
    data: list[BatchObject] = Field(description="The batches of this page")
    first_id: FirstId
    last_id: LastId
    has_more: HasMore
