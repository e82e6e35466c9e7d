"""Common parts of the examples: the service's address, a client, and files as content parts."""

import base64
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from openai import APIConnectionError, OpenAI

ADDRESS = os.environ.get("PANDAGPT_CLIENT_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("PANDAGPT_CLIENT_KEY", "none")
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".bmp", ".gif", ".tif", ".tiff"})


def connect() -> tuple[OpenAI, str]:
    """A client, and the name of the first model served. Retries of 429 and 503 are the client's own.

    Ends the program where no service answers, or none of its models is loaded yet.
    """
    client = OpenAI(base_url=f"{ADDRESS}/v1", api_key=KEY, max_retries=5)
    try:
        models = client.models.list().data
    except APIConnectionError:
        sys.exit(absent())
    if not models:
        sys.exit(f"the service at {ADDRESS} has no model yet: wait until `make serve` prints its address")
    return client, models[0].id


def absent() -> str:
    return f"no service answers at {ADDRESS}: start it by `make serve`, or set PANDAGPT_CLIENT_URL to its address"


def key_headers() -> dict[str, str]:
    """For requests without the `openai` package."""
    return {"authorization": f"Bearer {KEY}"}


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
