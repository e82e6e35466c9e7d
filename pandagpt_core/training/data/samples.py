"""Write `samples/`: a few small media that anyone may use, made from the packages of the training data."""

import json
import sys
from pathlib import Path

from PIL import Image

from pandagpt_core.training.concepts import load_concepts
from pandagpt_core.training.data.media import Picture, icons

_ICONS = {
    "dog": "dog-face",
    "cat": "cat",
    "panda": "panda",
    "guitar": "guitar",
    "banana": "banana",
    "tree": "deciduous-tree",
}
_SIZE, _DRAWN = 256, 208


def write_pictures(packages: Path, folder: Path) -> list[str]:
    """Noto icons (Apache-2.0) on a white square, as PNG files."""
    noto = {p.stem: p for p in icons(packages, load_concepts(), ("noto",))}
    for name, slug in _ICONS.items():
        _on_white(noto[slug]).save(folder / f"{name}.png", optimize=True)
    return [f"{name}.png" for name in _ICONS]


def _on_white(picture: Picture) -> Image.Image:
    drawn = picture.draw()
    drawn = drawn.resize((_DRAWN, _DRAWN * drawn.height // drawn.width))
    square = Image.new("RGB", (_SIZE, _SIZE), "white")
    square.paste(drawn.convert("RGB"), ((_SIZE - drawn.width) // 2, (_SIZE - drawn.height) // 2), drawn.getchannel("A"))
    return square


if __name__ == "__main__":
    out = Path("samples")
    out.mkdir(exist_ok=True)
    sys.stdout.write(json.dumps(write_pictures(Path(sys.argv[1]), out)) + "\n")
