"""Samples: a file's modality, by its suffix or its name."""

from pathlib import Path

import pytest

from service.local import samples


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("dog.png", "image"),
        ("DOG.JPG", "image"),
        ("bark.wav", "audio"),
        ("walk.mp4", "video"),
        ("walk.csv", "imu"),
        ("dog-depth.png", "depth"),
        ("thermal/dog.png", "thermal"),
        ("depth/room.npy", "depth"),
        ("imu/walk.npy", "imu"),
        ("room.npy", None),
        ("README.md", None),
        ("depth/README.md", None),
    ],
)
def test_a_file_is_what_its_suffix_or_its_name_says(name: str, modality: str | None) -> None:
    assert samples.modality(Path("samples") / name) == modality


def test_a_folder_is_searched_in_order_and_a_missing_one_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "b.png").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.wav").touch()
    assert samples.found(tmp_path) == [("audio", tmp_path / "a/x.wav"), ("image", tmp_path / "b.png")]
    assert samples.found(tmp_path / "nowhere") == []
