"""`pandagpt embed`: words and files to unit vectors of the shared space, or to how alike they are, as lines of JSON."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from service import settings
from service.commands.client.talk import PARTS, CallError, TalkError, complaint, medium
from service.commands.overrides import overrides
from service.local import address, samples

_NAMED = re.compile(rf"({'|'.join(PARTS)})=(.*)", re.DOTALL)
_HOW = (
    "words, or @FILE (what it is follows from its name), or MODALITY=FILE with options after a space, as in "
    "'depth=room.png unit=mm focal_px=518 baseline_m=0.075'"
)
BATCH = 32  # inputs of one request; a gateway takes that many media by default
EmbeddingNumbers = list[float]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("items", nargs="+", metavar="ITEM", help=_HOW)
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="ITEM",
        help="similarities with these instead of vectors, best first",
    )
    parser.add_argument("--url", help="address of the service")
    parser.add_argument("--model", help="model to ask")


def run(arguments: argparse.Namespace) -> int:
    """One line of JSON for each item."""
    loaded = settings.load(overrides(arguments, url="client.url"))
    client, where = loaded.client, address.of_service(loaded)
    headers = {"authorization": f"Bearer {client.key.get_secret_value()}"} if client.key else {}
    timeout = httpx.Timeout(None, connect=5.0)
    with httpx.Client(base_url=where, headers=headers, timeout=timeout, trust_env=False) as connection:
        try:
            vectors = embedded(connection, [*arguments.items, *arguments.against], arguments.model)
        except TalkError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            return error.status
    count = len(arguments.items)
    for item, vector in zip(arguments.items, vectors[:count], strict=True):
        line: dict[str, Any] = {"input": item}
        if arguments.against:
            line["similarities"] = alike(vector, arguments.against, vectors[count:])
        else:
            line["embedding"] = vector
        print(json.dumps(line, ensure_ascii=False))
    return 0


def embedded(connection: httpx.Client, items: Sequence[str], model: str | None) -> list[EmbeddingNumbers]:
    """A unit vector for each item. Raises TalkError."""
    inputs = [read(item) for item in items]
    vectors: list[EmbeddingNumbers] = []
    for at in range(0, len(inputs), BATCH):
        body = {"input": inputs[at : at + BATCH], **({"model": model} if model else {})}
        try:
            answer = connection.post("/v1/embeddings", json=body)
        except httpx.ConnectError:
            raise TalkError("nothing answers there; start it with `pandagpt serve`, or name it with --url") from None
        except httpx.HTTPError as error:
            raise TalkError(f"the connection broke ({type(error).__name__})") from None
        if answer.status_code != 200:
            raise TalkError(complaint(answer))
        vectors += [row["embedding"] for row in answer.json()["data"]]
    return vectors


def read(item: str) -> str | dict[str, Any]:
    """An item as an input of the embeddings endpoint. Raises CallError."""
    if named := _NAMED.fullmatch(item):
        return medium(named[1], named[2])
    if not item.startswith("@"):
        return item
    path = Path(item[1:]).expanduser()
    modality = samples.modality(path)
    if modality is None:
        raise CallError(
            f"{item[1:]}: its name does not tell what it is; write {' or '.join(f'{one}=' for one in PARTS)}"
        )
    return medium(modality, f"'{path}'")


def alike(vector: EmbeddingNumbers, names: Sequence[str], others: Sequence[EmbeddingNumbers]) -> list[dict[str, Any]]:
    """Cosines with each of the others, the largest first: all are of length one."""
    scored = [
        {"against": name, "similarity": round(sum(a * b for a, b in zip(vector, other, strict=True)), 6)}
        for name, other in zip(names, others, strict=True)
    ]
    return sorted(scored, key=lambda one: one["similarity"], reverse=True)
