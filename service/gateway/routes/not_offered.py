"""Endpoints of other servers that this service does not have: a 404 whose message states what is missing.

No route of their own: any method and any path below a prefix gets the same words.
"""

from collections.abc import Mapping
from types import MappingProxyType

NOT_OFFERED: Mapping[str, str] = MappingProxyType(
    {
        "/v1/moderations": "moderations",
        "/v1/uploads": "uploads in parts: POST /v1/files takes a file whole",
        "/v1/fine_tuning": "fine-tuning: `pandagpt train` does it offline",
        "/v1/fine-tunes": "fine-tuning: `pandagpt train` does it offline",
        "/v1/images": "images as answers: models here read images and write text",
        "/v1/videos": "videos as answers: models here read videos and write text",
        "/v1/assistants": "assistants: POST /v1/responses keeps a conversation",
        "/v1/threads": "threads: POST /v1/responses keeps a conversation",
        "/v1/conversations": "conversations: previous_response_id of POST /v1/responses goes on with one",
        "/v1/vector_stores": "vector stores: POST /v1/embeddings gives the vectors to keep elsewhere",
        "/v1/audio/speech": "speech as an answer: models here read sound and write text",
        "/v1/realtime": "the realtime interface: streams are server-sent events",
        "/v1/evals": "evals: `pandagpt eval` measures a model",
        "/v1/containers": "containers",
        "/v1/organization": "administration of organizations",
    }
)


def reason(path: str) -> str | None:
    """The message for a path that other servers have, None for any other."""
    found = next((prefix for prefix in NOT_OFFERED if path == prefix or path.startswith(f"{prefix}/")), None)
    return None if found is None else f"{found} is not offered. This service has no {NOT_OFFERED[found]}."
