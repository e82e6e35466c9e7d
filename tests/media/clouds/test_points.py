"""3D point clouds: every format gives the same cloud, any size is resampled, hostile files are refused."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping

import laspy
import numpy as np
import pytest
import trimesh

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.clouds.points import COUNT, unit_sphere
from pandagpt_core.media.limits import Limits

SMALL = Limits(points=100)
CLOUD = np.random.default_rng(1).uniform(-5, 9, (COUNT, 3)).astype(np.float32)


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def lines(cloud: np.ndarray, separator: str, header: str = "") -> bytes:
    return (header + "\n".join(separator.join(repr(float(value)) for value in row) for row in cloud)).encode()


def obj(cloud: np.ndarray) -> bytes:
    return b"# made\no shape\n" + b"\n".join(b"v " + row for row in lines(cloud, " ").split(b"\n")) + b"\nf 1 2 3\n"


def pcd(cloud: np.ndarray, kind: str, body: bytes) -> bytes:
    head = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS rgb x y z\nSIZE 4 4 4 4\nTYPE U F F F\n"
        f"COUNT 1 1 1 1\nWIDTH {len(cloud)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(cloud)}\nDATA {kind}\n"
    )
    return head.encode() + body


def pcd_ascii(cloud: np.ndarray) -> bytes:
    return pcd(cloud, "ascii", lines(np.column_stack([np.arange(len(cloud)), cloud]), " "))


def pcd_binary(cloud: np.ndarray) -> bytes:
    rows = np.zeros(len(cloud), dtype=[("rgb", "<u4"), ("xyz", "<f4", 3)])
    rows["xyz"] = cloud
    return pcd(cloud, "binary", rows.tobytes())


def pcd_packed(cloud: np.ndarray) -> bytes:
    """Field by field; zeros as copies that reach their own output, the rest as literal runs."""
    zeros, left = bytearray(b"\x00\x00"), 4 * len(cloud) - 1
    while left:
        length = min(left, 264)
        assert length > 2
        zeros += bytes([0xE0, length - 9, 0]) if length >= 9 else bytes([(length - 2) << 5, 0])
        left -= length
    literal = np.ascontiguousarray(cloud.astype("<f4").T).tobytes()
    runs = b"".join(bytes([len(run) - 1]) + run for run in (literal[at : at + 32] for at in range(0, len(literal), 32)))
    packed = bytes(zeros) + runs
    return pcd(cloud, "binary_compressed", struct.pack("<II", len(packed), 16 * len(cloud)) + packed)


def las(cloud: np.ndarray, packed: bool) -> bytes:
    header = laspy.LasHeader(point_format=0, version="1.2")
    header.scales = np.full(3, 1e-6)
    scan = laspy.LasData(header)
    scan.x, scan.y, scan.z = cloud.astype(np.float64).T
    out = io.BytesIO()
    scan.write(out, do_compress=packed, laz_backend=laspy.LazBackend.Lazrs if packed else None)
    return out.getvalue()


def export(kind: str, **options: object) -> Callable[[np.ndarray], bytes]:
    def exported(cloud: np.ndarray) -> bytes:
        data = trimesh.PointCloud(cloud).export(file_type=kind, **options)
        return data if isinstance(data, bytes) else data.encode()

    return exported


FORMATS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "npy": npy,
    "npy with colours": lambda cloud: npy(np.concatenate([cloud, cloud], axis=1)),
    "npz": lambda cloud: npz(anything=cloud),
    "npz by name": lambda cloud: npz(colours=np.zeros((3, 3)), points=cloud),
    "xyz": lambda cloud: lines(cloud, " "),
    "txt with a comment": lambda cloud: lines(cloud, "\t", "# a scan\n//X Y Z\n"),
    "csv": lambda cloud: lines(cloud, ","),
    "csv with names": lambda cloud: lines(cloud[:, [2, 0, 1]], ",", "Z,x,y\n"),
    "csv by semicolons": lambda cloud: lines(cloud, ";").replace(b"\n", b"\r\n"),
    "ply binary": export("ply"),
    "obj": obj,
    "glb": export("glb"),
    "pcd ascii": pcd_ascii,
    "pcd binary": pcd_binary,
    "pcd packed": pcd_packed,
    "las": lambda cloud: las(cloud, False),
    "laz": lambda cloud: las(cloud, True),
}


def ply_text(count: int | str, body: bytes = b"") -> bytes:
    properties = b"property float x\nproperty float y\nproperty float z\n"
    return b"ply\nformat ascii 1.0\nelement vertex %s\n%send_header\n%s" % (str(count).encode(), properties, body)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_cloud(name: str) -> None:
    found = unit_sphere(FORMATS[name](CLOUD), {}, Limits())
    assert (found.shape, found.dtype) == ((1, COUNT, 3), np.float32)
    np.testing.assert_allclose(found, unit_sphere(npy(CLOUD), {}, Limits()), atol=1e-5)


def test_a_text_ply_is_read() -> None:
    found = unit_sphere(ply_text(2, b"0 0 0\n2 0 0\n"), {}, Limits())
    assert sorted({tuple(row) for row in found[0].tolist()}) == [(-1, 0, 0), (1, 0, 0)]


def test_a_cloud_is_centred_and_scaled_to_the_unit_sphere() -> None:
    found = unit_sphere(npy(CLOUD * 1000 + 1e5), {}, Limits())[0]
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    assert np.linalg.norm(found, axis=1).max() == pytest.approx(1)


def test_a_cloud_that_is_centred_and_scaled_stays_as_it_is() -> None:
    once = unit_sphere(npy(CLOUD.astype(np.float64)), {}, Limits())
    assert np.array_equal(unit_sphere(npy(once[0]), {}, Limits()), once)


@pytest.mark.parametrize("count", [2, 100, 8191, 8193, 20_000])
def test_a_cloud_of_any_size_is_resampled_the_same_way_each_time(count: int) -> None:
    cloud = np.random.default_rng(2).normal(size=(count, 3))
    found = unit_sphere(npy(cloud), {}, Limits())
    assert found.shape == (1, COUNT, 3)
    assert np.array_equal(found, unit_sphere(npy(cloud), {}, Limits()))
    rows = {tuple(row) for row in found[0].tolist()}
    assert len(rows) == min(count, COUNT)


def test_points_that_are_not_finite_are_dropped() -> None:
    odd = CLOUD.copy()
    odd[:100, 1] = [np.nan, np.inf] * 50
    assert np.array_equal(unit_sphere(npy(odd), {}, Limits()), unit_sphere(npy(odd[100:]), {}, Limits()))
    assert np.isfinite(unit_sphere(b"nan 0 0\n1 2 3\ninf 1 1\n3 2 1\n", {}, Limits())).all()


def test_the_row_to_start_with_comes_first() -> None:
    plain = unit_sphere(npy(CLOUD), {}, Limits())
    assert np.array_equal(unit_sphere(npy(CLOUD), {"start": 829.0}, Limits())[0], np.roll(plain[0], -829, axis=0))


@pytest.mark.parametrize(("start", "words"), [(-1.0, "between 0 and 8191"), (8192.0, "8191"), (0.5, "whole number")])
def test_a_start_that_is_no_row_is_refused(start: float, words: str) -> None:
    with pytest.raises(InvalidMedia, match=words) as refused:
        unit_sphere(npy(CLOUD), {"start": start}, Limits())
    assert refused.value.param == "start"


def test_huge_coordinates_do_not_overflow() -> None:
    assert np.isfinite(unit_sphere(npy(CLOUD.astype(np.float64) * 1e307), {}, Limits())).all()


NONE = np.zeros((0, 3))
HUNDRED_MILLION = 100_000_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ply_text(0), "0 points"),
        (b"x,y,z\n", "0 points"),
        (pcd_ascii(NONE), "0 points"),
        (pcd_binary(NONE), "0 points"),
        (las(NONE, False), "0 points"),
        (b"# nothing\nv ", "0 points"),
        (npy(np.full((5, 3), np.nan)), "0 points with finite coordinates, of 5"),
        (npy(np.ones((5, 3))), "at one place"),
        (npy(np.ones((5, 2))), "5 by 2"),
        (npy(np.ones((5, 3), dtype="c8")), "integers or floats"),
        (ply_text(HUNDRED_MILLION), "100000000 points; the limit is 100"),
        (ply_text("9" * 5000), "the limit is 100"),
        (
            ply_text(3).replace(b"end_header", b"element face 999999999\nproperty list uchar int v\nend_header"),
            "entries",
        ),
        (b"ply\nformat ascii 1.0\n" + b"comment x\n" * 7000, "no header"),
        (b"1 2 3\n" * 103, "lines; the limit"),
        (b"v 1 2 3\n" * 101, "101 points; the limit is 100"),
        (npy(np.ones((101, 3))), "101 points"),
        (las(np.ones((101, 3)), True), "101 points"),
        (pcd(np.ones((101, 3)), "binary", b""), "101 points"),
        (pcd(np.ones((5, 3)), "binary", b"short"), "decoded"),
        (pcd(np.ones((5, 3)), "binary_compressed", struct.pack("<II", 4, 80) + b"\xe0\xff\x00\x00"), "decoded"),
        (pcd(np.ones((5, 3)), "binary_compressed", struct.pack("<II", 4, 4_000_000_000)), "the unpacked cloud has"),
        (pcd(np.ones((5, 3)), "zipped", b""), "must be one of"),
        (b"VERSION 0.7\n" + b"# x\n" * 9000, "no header"),
        (b"glTF\x02\x00\x00\x00\xff\xff\xff\x7f", "decoded"),
        (b"LASF" + bytes(400), "decoded"),
        (b"PK\x03\x04" + bytes(40), "decoded"),
        (b"a,b,c\n1,2,3\n", "no column named x"),
        (b"\x00\xff binary rubbish", "none of PLY"),
        (b"1 2\n3 4\n", "2 columns"),
    ],
)
def test_what_is_no_cloud_or_beyond_a_limit_is_refused_with_the_limit(data: bytes, words: str) -> None:
    with pytest.raises(InvalidMedia, match=words):
        unit_sphere(data, {}, SMALL)


def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused_unread() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(2_000_000))
    with pytest.raises(InvalidMedia, match="2000000 bytes; the limit is 1000000"):
        unit_sphere(out.getvalue(), {}, Limits(bytes=1_000_000))


def test_an_archive_that_lies_about_its_size_is_refused() -> None:
    data = bytearray(npz(points=CLOUD))
    true_size = len(npy(CLOUD))
    lied = bytes(data).replace(struct.pack("<I", true_size), struct.pack("<I", 200))
    assert lied != bytes(data)
    with pytest.raises(InvalidMedia):
        unit_sphere(lied, {}, Limits())
