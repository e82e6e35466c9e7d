"""Values that several examples share."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# One pixel, so that the document stays readable.
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGM4kWIEAANWAV/oF4RSAAAAAElFTkSuQmCC"
)
IMAGE = {"type": "image_url", "image_url": {"url": PICTURE}}
MODEL = "panda-mini"
CREATED = 1790000000
REQUEST = "chatcmpl-0123456789abcdef0123456789abcdef"
FILE = "file-0123456789abcdef0123456789abcdef"
BATCH = "batch_0123456789abcdef0123456789abcdef"
RESPONSE = "resp_0123456789abcdef0123456789abcdef"
# Of what stands in addresses.
PARAMETERS: Mapping[str, Any] = MappingProxyType(
    {
        "file_id": FILE,
        "batch_id": BATCH,
        "response_id": RESPONSE,
        "request_id": REQUEST,
        "model": MODEL,
    }
)


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
