"""The input of POST /v1/responses: OpenAI's items and parts as the messages and content parts of this service."""

from pathlib import PurePath
from typing import Any

from pydantic_core import PydanticCustomError

from pandagpt_core.modalities import MODALITIES

_TEXTS = ("input_text", "output_text", "text", "refusal")
_SUFFIXES = {suffix: name for name, entry in MODALITIES.items() for suffix in entry.mime}
_KINDS = {mime: name for name, entry in MODALITIES.items() for mime in entry.mime.values()}


def as_messages(value: object) -> object:
    """A string as the user's message; items as messages. What a model here has no use for (`reasoning`) is left out."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        return value
    return [_message(item) for item in value if not (isinstance(item, dict) and item.get("type") == "reasoning")]


def _message(item: object) -> object:
    if not isinstance(item, dict):
        return item
    kind = item.get("type", "message")
    if kind != "message":
        raise PydanticCustomError("literal_error", "not a message", {"expected": "'message'"})
    content = item.get("content")
    parts = [_part(part) for part in content] if isinstance(content, list) else content
    return {"role": item.get("role"), "content": parts}


def _part(part: object) -> object:
    """One content part; those of this service as they are."""
    if not isinstance(part, dict):
        return part
    match part.get("type"):
        case kind if kind in _TEXTS:
            return {"type": "text", "text": part.get("text", part.get("refusal"))}
        case "input_image":
            if part.get("file_id"):
                return {"type": "file", "file": {"file_id": part["file_id"]}, "modality": "image"}
            return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
        case "input_file":
            return _file(part)
    return part


def _file(part: dict[str, Any]) -> dict[str, Any]:
    """A file of a named or evident modality: by its `modality`, its data URL's type, or its name's ending."""
    link = part.get("file_data") or part.get("file_url")
    modality = part.get("modality") or _evident(
        str(link or "")[:128], str(part.get("filename") or part.get("file_url"))
    )
    if part.get("file_id"):
        return {"type": "file", "file": {"file_id": part["file_id"]}, "modality": modality}
    if not isinstance(modality, str) or modality not in MODALITIES:
        return {"type": "input_file"}  # refused by its type: no model here reads documents
    name = MODALITIES[modality].part
    return {"type": name, name: {"url": link}}


def _evident(link: str, filename: str) -> str | None:
    mime = link.removeprefix("data:").partition(";")[0] if link.startswith("data:") else ""
    return _KINDS.get(mime) or _SUFFIXES.get(PurePath(filename.partition("?")[0]).suffix.lower())
