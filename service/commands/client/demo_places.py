"""The part of `pandagpt demo` about places: one picture asked of a model that names them, and drawn with its boxes."""

from pathlib import Path
from typing import Any

import httpx

MODEL = Path("models/panda-locate")
PICTURE = MODEL / "scene.png"
DRAWN = Path(".cache/demo-places.png")
_ASKED = {
    "task": "grounding",
    "prompt": "please describe this image in details",
    "annotate": "true",
    "max_tokens": "200",
}


def shown(client: httpx.Client, picture: Path = PICTURE, drawn: Path = DRAWN) -> bool:
    """Ask where everything is, print each thing's box, and write the picture with the boxes; False where it fails."""
    print(f"image {picture.name}, {_ASKED['task']}")
    try:
        answer = _answer(client, picture)
        annotated = client.get(f"/v1/requests/{answer['id']}/annotated")
        annotated.raise_for_status()
    except (httpx.HTTPError, OSError) as error:
        print(f"error: {error}")
        return False
    for one in answer["choices"][0]["message"].get("objects", ()):
        print(f"  {one['label'] or 'a thing'}: {_corners(one['box'])}")
    drawn.parent.mkdir(parents=True, exist_ok=True)
    drawn.write_bytes(annotated.content)
    print(f"drawn in {drawn}")
    return True


def _answer(client: httpx.Client, picture: Path) -> dict[str, Any]:
    sent = client.post("/v1/generate", data=_ASKED, files={"image": (picture.name, picture.read_bytes())})
    sent.raise_for_status()
    answer: dict[str, Any] = sent.json()
    return answer


def _corners(box: dict[str, float]) -> str:
    return ", ".join(f"{side} {round(value)}" for side, value in box.items())
