"""What the examples share: the service's address, a client, and files as content parts."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from openai import OpenAI

ADDRESS = os.environ.get("PANDAGPT_CLIENT_URL", "http://127.0.0.1:8000")
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".bmp", ".gif", ".tif", ".tiff"})


def connect() -> tuple[OpenAI, str]:
    """A client, and the name of the first model served. Retries of 429 and 503 are the client's own."""
    client = OpenAI(base_url=f"{ADDRESS}/v1", api_key=os.environ.get("PANDAGPT_CLIENT_KEY", "none"), max_retries=5)
    return client, client.models.list().data[0].id


def pictures(folder: Path) -> list[Path]:
    """The pictures below a folder, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def part(modality: str, path: Path) -> dict[str, Any]:
    """A file as a content part of a message, or of an embedding's input."""
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": f"{modality}_url", f"{modality}_url": {"url": f"data:application/octet-stream;base64,{data}"}}


def embed(client: OpenAI, model: str, items: Sequence[Any]) -> np.ndarray:
    """[n, E] unit vectors in the shared space, of words (str) and content parts; 16 items a request."""
    rows: list[list[float]] = []
    for start in range(0, len(items), 16):
        answer = client.embeddings.create(model=model, input=list(items[start : start + 16]))
        rows += [row.embedding for row in answer.data]
    return np.array(rows)
