"""The reserved pictures are found by their exact names; those that are trained on too are counted apart."""

from pathlib import Path

import pytest
from PIL import Image

from pandagpt_core.training.concepts import load_concepts
from pandagpt_core.training.data.media import Picture, reserved_pictures
from pandagpt_core.training.reserved import is_drawable, parts

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


def test_copies_of_what_is_trained_on_stand_in_no_figure_but_the_one_that_says_so() -> None:
    png, svg = (Picture("tuxpaint", "a", (), 0, data) for data in (b"\x89PNG", b"<svg/>"))
    assert parts([png, png, svg], {0}) == {
        "reserved, with copies of what is trained on": [0, 1, 2],
        "reserved": [1, 2],
        "reserved, PNG": [1],
        "reserved, SVG": [2],
    }
