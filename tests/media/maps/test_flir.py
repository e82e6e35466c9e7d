"""FLIR radiometric JPEG: temperatures by the camera's constants, whatever the file's order of bytes and segments."""

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, read
from pandagpt_core.media.maps import flir
from tests.media.flir_file import radiometric, scene

LIMITS = Limits()


@pytest.mark.parametrize("png", [True, False])
@pytest.mark.parametrize("big_endian", [True, False])
@pytest.mark.parametrize("exif_bytes", [0, 60_000])
def test_temperatures_are_those_of_the_scene(png: bool, big_endian: bool, exif_bytes: int) -> None:
    data = radiometric(png=png, big_endian=big_endian, exif_bytes=exif_bytes)
    assert data.count(b"FLIR\0\x01") >= (2 if png else 3), "split over segments, as a camera's"
    assert flir.is_radiometric(data)
    found = flir.read(data, LIMITS)
    assert found.celsius == pytest.approx(scene(), abs=0.1)
    assert found.span[0] < found.span[1]


def test_the_tower_gets_the_cameras_span_or_the_callers() -> None:
    array, notes = read("shown-thermal-v1", radiometric(), {}, LIMITS)
    assert array[0, 0, 112, 112] > 0.9
    assert notes.parameters["unit"].value == "celsius"
    wide, _ = read("shown-thermal-v1", radiometric(), {"low": 0.0, "high": 120.0}, LIMITS)
    assert wide[0, 0, 112, 112] == pytest.approx(0.5, abs=0.05)


def test_segments_count_by_their_numbers() -> None:
    data = radiometric(png=False)
    at = [
        index
        for index in range(len(data))
        if data.startswith(b"\xff\xe1", index) and data[index + 4 : index + 8] == b"FLIR"
    ]
    first, second = data[at[0] : at[1]], data[at[1] : at[2]]
    swapped = data[: at[0]] + second + first + data[at[2] :]
    assert np.array_equal(flir.read(swapped, LIMITS).celsius, flir.read(data, LIMITS).celsius)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_short_is_refused_in_words(cut: float) -> None:
    data = radiometric(png=False)
    with pytest.raises(InvalidMedia) as refused:
        read("shown-thermal-v1", data[: int(len(data) * cut)], {}, LIMITS)
    assert "FLIR" in refused.value.message or "picture" in refused.value.message


def test_a_raw_picture_that_claims_more_than_it_holds_is_refused() -> None:
    data = bytearray(radiometric(png=False))
    at = data.index(b"\x02\x00\x40\x01\xf0\x00")
    data[at + 2 : at + 6] = b"\xff\xff\xff\xff"
    with pytest.raises(InvalidMedia, match="pixels; the limit is"):
        read("shown-thermal-v1", bytes(data), {}, LIMITS)
