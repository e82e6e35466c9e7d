"""The reserved pictures are found by their exact names."""

from pathlib import Path

import pytest
from PIL import Image

from pandagpt_core.training.concepts import load_concepts
from pandagpt_core.training.data.media import reserved_pictures

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
    (tmp_path / STAMPS / "food" / "banana.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return tmp_path


def test_a_picture_belongs_to_the_concept_whose_stem_its_file_is_called(packages: Path) -> None:
    found = sorted((picture.stem, picture.concept) for picture in reserved_pictures(packages, CONCEPTS))
    assert found == [("banana", INDEX["banana"])] * 2 + [("dog", INDEX["dog"])]
