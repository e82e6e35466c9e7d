"""The reserved pictures are found by their exact names; those that are trained on too are counted apart."""

from pathlib import Path

import pytest
from PIL import Image

from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.data.media import STYLES, Picture, reserved_pictures
from recipes.panda_mini.holdout import COPIES, is_drawable, parts, write_reserved

CONCEPTS = load_concepts()
INDEX = {concept.name: index for index, concept in enumerate(CONCEPTS)}
STAMPS = "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    for name in ("animals/dog.png", "animals/dogma.png", "animals/dog_mirror.png", "food/banana.png"):
        path = tmp_path / STAMPS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    (tmp_path / STAMPS / "animals" / "dog.ogg").write_bytes(b"")
    (tmp_path / STAMPS / "food" / "banana.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="0" height="0"/>'
    )
    return tmp_path


def test_a_picture_belongs_to_the_concept_whose_stem_its_file_is_called(packages: Path) -> None:
    found = sorted((picture.stem, picture.concept) for picture in reserved_pictures(packages, CONCEPTS))
    assert found == [("banana", INDEX["banana"])] * 2 + [("dog", INDEX["dog"])]


def test_what_cannot_be_drawn_is_told_apart(packages: Path) -> None:
    found = {(p.stem, p.data[:1] == b"<"): is_drawable(p) for p in reserved_pictures(packages, CONCEPTS)}
    assert found == {("banana", False): True, ("banana", True): False, ("dog", False): True}


def test_copies_of_what_is_trained_on_are_a_set_of_their_own() -> None:
    png, svg = (Picture("tuxpaint", "a", (), 0, data) for data in (b"\x89PNG", b"<svg/>"))
    assert [name for name, _ in parts([png, png, svg], {0})] == [COPIES, "PNG", "SVG"]


def test_what_counts_is_all_but_the_copies(packages: Path, tmp_path: Path) -> None:
    drawn = Image.new("RGBA", (64, 64), "white")
    drawn.paste((200, 30, 30), (8, 8, 40, 56))
    drawn.paste((30, 30, 200), (20, 16, 60, 24))
    banana = packages / STAMPS / "food" / "banana.png"
    drawn.save(banana)
    clip_art = packages / "openclipart-png" / "usr" / "share" / "openclipart" / "png" / "banana_split.png"
    for path, content in (
        (clip_art, banana.read_bytes()),
        *((packages / f"iconify-json-{style}" / "package" / "icons.json", b'{"icons": {}}') for style in STYLES),
        (packages / "emojibase-data" / "package" / "en" / "data.json", b"[]"),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    manifest = write_reserved(packages, tmp_path / "set")
    assert {item.set: item.truth for item in manifest.items} == {COPIES: "banana", "PNG": "dog"}
    assert manifest.unions == {"reserved": ("PNG",)}
    assert [reason[:5] for reason in manifest.left_out] == ["1 SVG"]
