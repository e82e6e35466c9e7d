"""A model that names places, and its streamed answer."""

import json
from typing import Any

MODEL = {
    "id": "places",
    "system": "minigpt-v2",
    "input_modalities": ["image"],
    "max_model_len": 1,
    "options": [
        {"name": "task", "kind": "string", "description": "What to do.", "choices": ["refer", "identify"]},
        {"name": "boxes", "kind": "boxes", "description": "Places."},
    ],
}
DOG = {"label": "a dog", "box_norm": [0.1, 0.2, 0.6, 0.8], "box": None}
CAT = {"label": "a cat", "box_norm": [0.5, 0.5, 0.9, 0.9], "box": None}
PIECES = [
    ("I see <p>a dog</p> {<10><2", []),
    ("0><60><80>} and <p>a cat", [DOG]),
    ("</p>{<50><50><90><90>}.", [CAT]),
]


def stream(*pieces: tuple[str, list[dict[str, Any]]]) -> str:
    lines = ""
    for index, (content, objects) in enumerate(pieces):
        delta = {"content": content, "objects": objects} if objects else {"content": content}
        chunk = {"id": "chatcmpl-x", "choices": [{"index": 0, "delta": delta}]}
        lines += f"id: {index}\ndata: {json.dumps(chunk)}\n\n"
    return lines
