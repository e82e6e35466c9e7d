"""Cut-outs with names, from the packages: icons, clip art, and the validation photos and drawings."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import resvg_py
from PIL import Image

from recipes.panda_mini.concepts import Concept
from recipes.panda_mini.data.rcc import read_rcc

SIZE = 224
STYLES = ("noto", "noto-v1", "fxemoji", "twemoji", "emojione", "fluent-emoji-flat")
_PHOTO_BUNDLES = ("lang", "explore_farm_animals", "explore_world_animals", "categorization", "erase")
# Clip art that a held-out package has too, as near as `copies` can tell, and all that goes by the same name.
# fmt: off
_HELD_OUT = frozenset((
    "banana", "baseball_bat_ganson", "birthday_cake", "bread_01", "flute_ganson", "harp2_ganson",
    "hat_-_clothing_nicu_bucu_01", "laptop", "lemon", "mobile", "padlock_aj_ashton_01", "phone", "pineapple",
    "printer_nicu_buculei_01",
))
# fmt: on
# Of variants that differ in colour or direction alone one is enough; the letters and digits name nothing.
_SKIP = re.compile(
    r"skin-tone|-tone|-facing-right|^flag|^keycap|^[a-z0-9]$|clock-?face|o-?clock|thirty|-person$|:|^u1f"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its source, its name, its concept (-1: none), the way to draw it."""

    source: str
    stem: str
    names: tuple[str, ...]
    concept: int
    data: bytes

    def draw(self) -> Image.Image:
        """RGBA, at most `SIZE` wide and high."""
        data = self.data
        if data.lstrip()[:1] == b"<":
            data = bytes(resvg_py.svg_to_bytes(svg_string=data.decode(), width=SIZE))
        image = Image.open(io.BytesIO(data)).convert("RGBA")
        image.thumbnail((SIZE, SIZE), Image.Resampling.BICUBIC)
        return image


def icons(packages: Path, concepts: tuple[Concept, ...], styles: tuple[str, ...] = STYLES) -> Iterator[Picture]:
    """Icons by style: those of a concept, and the others as (picture, name and tags) for the width of the space."""
    of_slug = {slug: index for index, concept in enumerate(concepts) for slug in concept.slugs}
    tags = _tags(packages)
    for style in styles:
        collection = json.loads((packages / f"iconify-json-{style}" / "package" / "icons.json").read_text())
        for slug, icon in collection["icons"].items():
            concept = of_slug.get(slug, -1)
            if concept < 0 and (_SKIP.search(slug) or icon.get("hidden")):
                continue
            width, height = (icon.get(side, collection.get(side, 16)) for side in ("width", "height"))
            svg = (
                f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{icon["body"]}</svg>'
            )
            name = slug.replace("-", " ")
            names = (name, *tags.get(name, ()))
            yield Picture(style, slug, names, concept, svg.encode())


def clip_art(packages: Path, concepts: tuple[Concept, ...]) -> Iterator[Picture]:
    """Drawings of the public-domain clip art whose file names match a concept's pattern, less what is held out."""
    patterns = [(index, re.compile(concept.oc)) for index, concept in enumerate(concepts) if concept.oc]
    folder = packages / "openclipart-png" / "usr" / "share" / "openclipart" / "png"
    for path in sorted(folder.rglob("*.png")):
        hits = [index for index, pattern in patterns if pattern.search(path.name.lower())]
        if hits and path.stem not in _HELD_OUT and path.stat().st_size < 2_000_000:
            yield Picture("openclipart", path.stem, (), hits[0], path.read_bytes())


def validation_photos(packages: Path, concepts: tuple[Concept, ...]) -> list[Picture]:
    """Photos of the validation package whose file names name a concept."""
    return list(_bundled(packages, concepts, _PHOTO_BUNDLES, ".webp"))


def validation_drawings(packages: Path, concepts: tuple[Concept, ...]) -> list[Picture]:
    """Drawings of instruments of the validation package."""
    return list(_bundled(packages, concepts, ("instruments",), ".svg"))


def reserved_pictures(packages: Path, concepts: tuple[Concept, ...]) -> list[Picture]:
    """The pictures that judge and choose nothing: stamps whose file is named exactly as a concept's stem."""
    of_stem = {stem: index for index, concept in enumerate(concepts) for stem in concept.tux}
    folder = packages / "tuxpaint-stamps-default" / "usr" / "share" / "tuxpaint" / "stamps"
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".png", ".svg") and path.stem in of_stem]
    return [Picture("tuxpaint", path.stem, (), of_stem[path.stem], path.read_bytes()) for path in paths]


def _bundled(packages: Path, concepts: tuple[Concept, ...], bundles: tuple[str, ...], suffix: str) -> Iterator[Picture]:
    of_stem = {stem: index for index, concept in enumerate(concepts) for stem in concept.gc}
    folder = packages / "gcompris-qt-data" / "usr" / "share" / "gcompris-qt" / "rcc"
    for bundle in bundles:
        for name, data in read_rcc(folder / f"{bundle}.rcc"):
            stem = Path(name).stem
            if name.endswith(suffix) and stem in of_stem:
                yield Picture(f"gcompris/{bundle}", stem, (), of_stem[stem], data)


def _tags(packages: Path) -> dict[str, tuple[str, ...]]:
    """Other names of an icon: a label's tags, by the label without punctuation."""
    entries = json.loads((packages / "emojibase-data" / "package" / "en" / "data.json").read_text())
    return {re.sub(r"[^a-z0-9 ]", "", e["label"].lower()): tuple(e.get("tags", ())[:6]) for e in entries}
