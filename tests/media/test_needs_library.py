"""Media that need a large library, by recipe and first bytes."""

import pytest
from numpy.lib.format import MAGIC_PREFIX

from pandagpt_core.media import samples
from pandagpt_core.media.clouds import samples as clouds
from pandagpt_core.media.clouds.magic import READERS, reader_of
from pandagpt_core.media.scientific.magic import needs_library

POINTS = "points-8192-v1"


@pytest.mark.parametrize(
    "data", [*clouds.files(), samples.cloud()], ids=["glb", "obj", "ply", "las", "laz", "text ply"]
)
def test_a_mesh_or_scan_needs_a_library_for_a_recipe_of_clouds_only(data: bytes) -> None:
    assert needs_library(POINTS, data)
    assert not needs_library("clip-bpe-v1", data)
    assert not needs_library("no such recipe", data)


@pytest.mark.parametrize(
    "data", [b"0 0 1\n1 1 0\n", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"# .PCD\nVERSION 0.7\n", b"", b"v"]
)
def test_a_cloud_in_a_table_or_an_array_needs_none(data: bytes) -> None:
    assert not needs_library(POINTS, data)


@pytest.mark.parametrize("data", [b"PAR1", b"MATLAB 5.0 MAT-file", b"\x89HDF\r\n\x1a\n"])
def test_a_scientific_file_needs_a_library_whatever_the_recipe(data: bytes) -> None:
    assert needs_library("imu-v1", data)


def test_the_head_of_a_numpy_file_is_numpys_own() -> None:
    assert reader_of(MAGIC_PREFIX + b"\x01\x00")[1] == READERS[0][2] == "from_npy"
