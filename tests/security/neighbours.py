"""Valid requests sent at the same time as hostile ones: they must end well whatever happens beside them."""

import base64
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image


def data_url(data: bytes) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"


def picture(number: int = 0) -> bytes:
    """A small PNG that no other number gives."""
    out = BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256 % 256, 77)).save(out, "PNG")
    return out.getvalue()


def with_picture(data: bytes, text: str = "What is this?") -> dict[str, object]:
    """A chat body that asks about a picture."""
    part = {"type": "image_url", "image_url": {"url": data_url(data)}}
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": text}, part]}], "max_tokens": 3}


def ask(client: httpx.Client, data: bytes) -> httpx.Response:
    return client.post("/v1/chat/completions", json=with_picture(data))


@contextmanager
def neighbour(url: httpx.URL | str, **options: object) -> Iterator[list[int]]:
    """Another caller who asks about ever new pictures while the block runs, and once more after it."""
    statuses: list[int] = []
    leave = threading.Event()

    def call() -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False, **options) as client:
            number = 1000
            while True:
                last = leave.is_set()
                number += 1
                statuses.append(ask(client, picture(number)).status_code)
                if last:
                    return
                leave.wait(0.01)

    thread = threading.Thread(target=call, name="neighbour", daemon=True)
    thread.start()
    try:
        yield statuses
    finally:
        leave.set()
        thread.join(60)
    assert not thread.is_alive(), "the neighbour still waits"
    assert set(statuses) == {200}


def keys_in(folder: Path, rights: Mapping[str, str]) -> Path:
    """A file of keys: `key-<name>` for each name, with the words that follow its digest in the file."""
    file = folder / "keys"
    lines = [f"{name} {hashlib.sha256(f'key-{name}'.encode()).hexdigest()} {words}" for name, words in rights.items()]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
