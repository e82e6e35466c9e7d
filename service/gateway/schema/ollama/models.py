"""The models of live workers as Ollama lists and shows them. Sizes are not known here and are 0."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from pandagpt_core.types import Modality, ModelInfo

VERSION = "0.12.6"  # of Ollama, whose interface this follows: some clients refuse an older one
FOREVER = "9999-12-31T23:59:59Z"  # a model here is never unloaded


def listed(info: ModelInfo) -> dict[str, Any]:
    """An entry of /api/tags."""
    modified = datetime.fromtimestamp(info.created, UTC).isoformat().replace("+00:00", "Z")
    return {
        "name": info.id,
        "model": info.id,
        "modified_at": modified,
        "size": 0,
        "digest": _digest(info),
        "details": _details(info),
    }


def running(info: ModelInfo) -> dict[str, Any]:
    """An entry of /api/ps."""
    return {**listed(info), "expires_at": FOREVER, "size_vram": 0, "context_length": info.max_model_len}


def shown(info: ModelInfo) -> dict[str, Any]:
    """The answer of /api/show."""
    family = info.system
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(info),
        "model_info": {
            "general.architecture": family,
            f"{family}.context_length": info.max_model_len,
            f"{family}.embedding_length": info.embedding_dim,
        },
        "capabilities": capabilities(info),
        "modified_at": listed(info)["modified_at"],
    }


def capabilities(info: ModelInfo) -> list[str]:
    able = {
        "completion": True,
        "vision": Modality.IMAGE in info.recipes,
        "tools": info.tools == "auto",
        "embedding": info.embedding_dim > 0,
    }
    return [name for name, can in able.items() if can]


def _digest(info: ModelInfo) -> str:
    return hashlib.sha256("\0".join((info.id, info.version, info.encoder_digest)).encode()).hexdigest()


def _details(info: ModelInfo) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": info.system,
        "families": [info.system],
        "parameter_size": "",
        "quantization_level": "",
    }
