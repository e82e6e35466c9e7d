"""A served model as one who is examined: greedy answers and embeddings over HTTP, a few requests at a time."""

import base64
import mimetypes
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np

from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.types import Modality
from service.commands.client.talk import PARTS, TalkError, complaint
from service.settings import ClientSettings

BUSY = (429, 503)  # answered with Retry-After: later it may go
TRIES, LONGEST_WAIT_S = 6, 20.0
INPUTS = 8  # of one request for embeddings


class HttpModel:
    """An `Answerer` at an address. Every method raises TalkError."""

    def __init__(self, client: httpx.Client, model: str | None = None, at_once: int = 4) -> None:
        self._client = client
        self._at_once = at_once
        listed = self._asked("GET", "/v1/models")["data"]
        if not listed:
            raise TalkError(f"no model is ready at {client.base_url} yet; its worker may still be loading, or be down")
        found = [one for one in listed if model in (None, one["id"])]
        if not found:
            raise TalkError(f"no model {model} is served there; there are {[one['id'] for one in listed]}")
        self.name: str = found[0]["id"]
        self.modalities = frozenset(Modality(one) for one in found[0]["input_modalities"])

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        def one(question: Asked) -> str:
            content = [*(part(held) for held in question.media), {"type": "text", "text": question.question}]
            body = {
                "model": self.name,
                "messages": [{"role": "user", "content": content}],
                "max_tokens": tokens,
                "temperature": 0,
                "repetition_penalty": 1,  # for all defaults of models: greedy, as in process
                "no_repeat_ngram_size": 0,
            }
            answer = self._asked("POST", "/v1/chat/completions", body)
            text: str = answer["choices"][0]["message"]["content"]
            return text

        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(one, asked))

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        def some(held: Sequence[Held]) -> list[list[float]]:
            inputs = [one.data.decode() if one.modality == Modality.TEXT else part(one) for one in held]
            answer = self._asked("POST", "/v1/embeddings", {"model": self.name, "input": inputs})
            return [row["embedding"] for row in answer["data"]]

        with ThreadPoolExecutor(self._at_once) as pool:
            return np.array([row for rows in pool.map(some, _parts(media)) for row in rows], dtype=np.float32)

    def _asked(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        for attempt in range(TRIES):
            try:
                answer = self._client.request(method, path, json=body)
            except httpx.ConnectError:
                raise TalkError(f"nothing answers at {self._client.base_url}; start it with `pandagpt serve`") from None
            except httpx.HTTPError as error:
                raise TalkError(f"the connection broke ({type(error).__name__})") from None
            if answer.status_code not in BUSY or attempt == TRIES - 1:
                break
            time.sleep(_wait_s(answer))
        if answer.status_code != 200:
            raise TalkError(complaint(answer))
        answered: dict[str, Any] = answer.json()
        return answered


def connected(settings: ClientSettings) -> httpx.Client:
    """A connection to the service that the settings name, with their key."""
    headers = {"authorization": f"Bearer {settings.key.get_secret_value()}"} if settings.key else {}
    timeout = httpx.Timeout(None, connect=5.0)
    return httpx.Client(base_url=settings.url, headers=headers, timeout=timeout, trust_env=False)


def part(held: Held) -> dict[str, Any]:
    """A medium as a part of a message."""
    kind = mimetypes.guess_type(held.name)[0] or "application/octet-stream"
    payload: dict[str, Any] = {"url": f"data:{kind};base64,{base64.b64encode(held.data).decode()}"}
    if held.params:
        payload[held.modality] = dict(held.params)
    return {"type": PARTS[held.modality], PARTS[held.modality]: payload}


def _wait_s(answer: httpx.Response) -> float:
    after = answer.headers.get("retry-after", "1")
    return min(LONGEST_WAIT_S, float(after)) if after.isdigit() else 1.0


def _parts(media: Sequence[Held]) -> Iterator[Sequence[Held]]:
    for start in range(0, len(media), INPUTS):
        yield media[start : start + INPUTS]
