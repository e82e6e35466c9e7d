"""A refusal names what came, whichever field it came in, and never calls an intact file damaged."""

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import Limits, load, read, samples
from pandagpt_core.media.signatures import kind_of, what_came

FOREIGN = {
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "an HTML page": b"<!DOCTYPE html>\n<html><body>404</body></html>",
    "a Photoshop picture": b"8BPS\0\1" + bytes(40),
    "a JPEG XL picture": b"\xff\x0a" + bytes(40),
    "a JPEG 2000 picture": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "a gzip archive": b"\x1f\x8b\x08\0" + bytes(40),
    "a git-lfs pointer; the file itself was not fetched": b"version https://git-lfs.github.com/spec/v1\n",
}
RECIPES = {
    "image": "lite0-detail-v1",
    "video": "lite0-video-v1",
    "audio": "mixed-audio-v1",
    "thermal": "shown-thermal-v1",
    "points": "points-8192-v1",
    "imu": "imu-v1",
}


# Fields that refuse gzip in a sentence about the formats of their own.
OTHERWISE = {("imu", "a gzip archive"), ("thermal", "a gzip archive")}


@pytest.mark.parametrize(
    ("field", "kind"), [(field, kind) for field in RECIPES for kind in FOREIGN if (field, kind) not in OTHERWISE]
)
def test_a_file_that_a_field_does_not_take_is_named(field: str, kind: str) -> None:
    with pytest.raises(InvalidMedia) as refused:
        load(RECIPES[field], FOREIGN[kind], {}, Limits())
    assert kind in str(refused.value)
    assert "damaged" not in str(refused.value)


def test_the_projects_own_samples_are_known_by_their_kind() -> None:
    assert kind_of(samples.picture()) == "a PNG picture"
    assert kind_of(samples.film()) == "an MP4 or QuickTime film or sound"
    assert kind_of(b"x,y,z\n1,2,3\n") is None
    assert what_came(b"x,y,z\n") == "the file is text"
    assert what_came(b"") == "the file is empty"
    assert "no format known" in what_came(bytes(16))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"x,y,z\n1,2,3\n1,oops,3\n", "line 2 of the table of points has no number in column 2"),
        (b"1 2\n3 4\n", "line 1 of the table of points has 2 columns; x, y and z need 3"),
    ],
)
def test_a_bad_line_of_a_cloud_is_named(table: bytes, words: str) -> None:
    with pytest.raises(InvalidMedia, match=words):
        load("points-8192-v1", table, {}, Limits())


@pytest.mark.parametrize(
    "table",
    [b"1,5;2;3\n4;5;6,25\n0;0;1\n", b"3\n1.5 2 3\n4 5 6.25\n0 0 1\n", b"vn 0 0 1\nv 1.5 2 3\nv 4 5 6.25\nv 0 0 1\n"],
    ids=["decimal comma", "count in front", "normals first"],
)
def test_tables_of_points_are_read_as_programs_write_them(table: bytes) -> None:
    plain = load("points-8192-v1", b"1.5,2,3\n4,5,6.25\n0,0,1\n", {}, Limits())
    np.testing.assert_allclose(load("points-8192-v1", table, {}, Limits()), plain, atol=1e-6)


def test_points_that_are_left_out_and_what_is_not_read_are_said() -> None:
    _, notes = read("points-8192-v1", b"x,y,z,r\n1,2,3,9\nnan,2,3,9\n4,5,6,9\n", {}, Limits())
    assert notes.warnings == ["1 of the 3 points are not finite and were left out."]
    assert "colours" in notes.facts["points"]


def test_matlab_4_is_refused_by_its_name() -> None:
    scipy = pytest.importorskip("scipy.io")
    import io

    out = io.BytesIO()
    scipy.savemat(out, {"depth": np.ones((4, 4))}, format="4")
    for recipe in ("imu-v1", "depth-sunrgbd-v1"):
        with pytest.raises(InvalidMedia, match="MATLAB"):
            load(recipe, out.getvalue(), {"unit": "m"} if recipe.startswith("depth") else {}, Limits())
