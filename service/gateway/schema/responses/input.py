"""The input of POST /v1/responses: OpenAI's items and parts as the messages and content parts of this service."""

from pathlib import PurePath
from typing import Any

from pydantic_core import PydanticCustomError

from pandagpt_core.modalities import MODALITIES
from service.gateway.errors import FieldError

_TEXTS = ("input_text", "output_text", "text", "refusal")
_SUFFIXES = {suffix: name for name, entry in MODALITIES.items() for suffix in entry.mime}
_KINDS = {mime: name for name, entry in MODALITIES.items() for mime in entry.mime.values()}


def as_messages(value: object) -> object:
    """A string as the user's message; items as messages. Unused items (`reasoning`) are left out."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        return value
    kept = [item for item in value if not (isinstance(item, dict) and item.get("type") == "reasoning")]
    return [_message(item, at) for at, item in enumerate(kept)]


def _message(item: object, at: int) -> object:
    if not isinstance(item, dict):
        return item
    match item.get("type", "message"):
        case "message":
            return {"role": item.get("role"), "content": _parts(item.get("content"))}
        case "function_call":
            return {"role": "assistant", "tool_calls": [_call(item, at)]}
        case "function_call_output":
            return {"role": "tool", "tool_call_id": _text(item, "call_id", at), "content": _parts(item.get("output"))}
    kinds = "'message', 'function_call' or 'function_call_output'"
    raise PydanticCustomError("literal_error", "not an item that is read here", {"expected": kinds})


def _parts(content: object) -> object:
    return [_part(part) for part in content] if isinstance(content, list) else content


def _call(item: dict[str, Any], at: int) -> dict[str, Any]:
    """A call as chat completions have it."""
    function = {"name": _text(item, "name", at), "arguments": _text(item, "arguments", at)}
    if not function["name"]:
        raise _wrong(at, "name", "is required")
    return {"id": _text(item, "call_id", at), "function": function}


_LONGEST = {"name": 128, "call_id": 512, "arguments": 200_000}  # characters, as in chat completions


def _text(item: dict[str, Any], field: str, at: int) -> str:
    value = item.get(field, "")
    if not isinstance(value, str):
        raise _wrong(at, field, "must be a string")
    if len(value) > _LONGEST[field]:
        raise _wrong(at, field, f"must be at most {_LONGEST[field]} characters long")
    return value


def _wrong(at: int, field: str, reason: str) -> FieldError:
    return FieldError(field, reason, within=(at, "item"))


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
            return _linked("image", part.get("image_url"), part)
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
    return _linked(modality, link, part)


def _linked(modality: str, link: object, part: dict[str, Any]) -> dict[str, Any]:
    """A part by link, or by the `uuid` alone."""
    name, uuid = MODALITIES[modality].part, part.get("uuid")
    if uuid is None:
        return {"type": name, name: {"url": link}}
    return {"type": name, name: None if link is None else {"url": link}, "uuid": uuid}


def _evident(link: str, filename: str) -> str | None:
    mime = link.removeprefix("data:").partition(";")[0] if link.startswith("data:") else ""
    return _KINDS.get(mime) or _SUFFIXES.get(PurePath(filename.partition("?")[0]).suffix.lower())
