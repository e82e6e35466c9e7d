"""Examples of the endpoints for kept data: responses, batches, files, requests."""

from service.gateway.openapi.examples.table import OperationExamples, RequestExample
from service.gateway.openapi.examples.text import CHAT_EVENT, RESPONSE_ANSWER, RESPONSE_EVENT
from service.gateway.openapi.examples.values import BATCH, CREATED, FILE, MODEL, REQUEST, RESPONSE

_DAY_S = 86_400
_BATCH = {
    "id": BATCH,
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "errors": None,
    "input_file_id": FILE,
    "completion_window": "24h",
    "status": "in_progress",
    "output_file_id": None,
    "error_file_id": None,
    "created_at": CREATED,
    "expires_at": CREATED + _DAY_S,
    "in_progress_at": CREATED + 1,
    "finalizing_at": None,
    "completed_at": None,
    "failed_at": None,
    "expired_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "request_counts": {"total": 100, "completed": 7, "failed": 0},
    "metadata": None,
}
_FILE = {
    "id": FILE,
    "object": "file",
    "bytes": 69,
    "created_at": CREATED,
    "expires_at": CREATED + _DAY_S,
    "filename": "picture.png",
    "purpose": "vision",
    "status": "processed",
}
_STATUS = {
    "id": REQUEST,
    "object": "request",
    "model": MODEL,
    "status": "queued",
    "position": 2,
    "attempts": 0,
    "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cached_items": 0},
    "timings": {
        "created": CREATED + 0.5,
        "deadline": CREATED + 600.5,
        "taken": None,
        "started": None,
        "first_token": None,
        "finished": None,
    },
    "error": None,
}

KEPT = {
    "getResponse": OperationExamples((RequestExample("As it stands"),), RESPONSE_ANSWER, RESPONSE_EVENT),
    "deleteResponse": OperationExamples(
        (RequestExample("Forget it"),), {"id": RESPONSE, "object": "response", "deleted": True}
    ),
    "cancelResponse": OperationExamples(
        (RequestExample("End it"),), RESPONSE_ANSWER | {"status": "cancelled", "output": [], "usage": None}
    ),
    "createBatch": OperationExamples(
        (
            RequestExample(
                "The conversations of an uploaded file",
                {"input_file_id": FILE, "endpoint": "/v1/chat/completions", "completion_window": "24h"},
            ),
        ),
        _BATCH | {"status": "validating", "in_progress_at": None},
    ),
    "listBatches": OperationExamples(
        (RequestExample("The newest", query={"limit": 20}),),
        {"object": "list", "data": [_BATCH], "first_id": BATCH, "last_id": BATCH, "has_more": False},
    ),
    "getBatch": OperationExamples((RequestExample("How far it is"),), _BATCH),
    "cancelBatch": OperationExamples((RequestExample("Run no further line"),), _BATCH | {"status": "cancelling"}),
    "uploadFile": OperationExamples(
        (RequestExample("A picture for later requests", {"file": "picture.png", "purpose": "vision"}),), _FILE
    ),
    "listFiles": OperationExamples(
        (RequestExample("The newest", query={"limit": 20}),),
        {"object": "list", "data": [_FILE], "first_id": FILE, "last_id": FILE, "has_more": False},
    ),
    "getFile": OperationExamples((RequestExample("What is known of it"),), _FILE),
    "deleteFile": OperationExamples((RequestExample("Forget it"),), {"id": FILE, "object": "file", "deleted": True}),
    "getFileContent": OperationExamples((RequestExample("Its bytes"),)),
    "getRequest": OperationExamples((RequestExample("How it stands"),), _STATUS),
    "cancelRequest": OperationExamples(
        (RequestExample("End it"),), _STATUS | {"status": "cancelled", "position": None}
    ),
    "getRequestEvents": OperationExamples((RequestExample("Its stream again"),), event=CHAT_EVENT),
    "getAnnotatedPicture": OperationExamples((RequestExample("The picture of the first answer", query={"choice": 0}),)),
}
