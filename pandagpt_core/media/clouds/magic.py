"""By which bytes the formats of point clouds are known, and what reads each. Standard library only."""

import re

_CLOUDS = "pandagpt_core.media.clouds"
_MESHES, _SCANS = f"{_CLOUDS}.meshes", f"{_CLOUDS}.las"

# Readers by a file's first bytes, in the order of the tries: module and function, imported at first use, so that a
# table of numbers needs no library of meshes. A file without a match is a table. A gateway's loop tries them on
# callers' bytes: repetitions are possessive, so that no try goes back.
READERS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"\x93NUMPY"), f"{_CLOUDS}.arrays", "from_npy"),
    (re.compile(rb"PK\x03\x04"), f"{_CLOUDS}.arrays", "from_npz"),
    (re.compile(rb"ply\s"), _MESHES, "from_ply"),
    (re.compile(rb"glTF"), _MESHES, "from_glb"),
    (re.compile(rb"LASF"), _SCANS, "from_las"),
    (re.compile(rb"(?:#[^\n]*\n|\s+)*+(VERSION|FIELDS)\s"), f"{_CLOUDS}.pcd", "from_pcd"),
    (
        re.compile(rb"(?:#[^\n]*\n|\s+|(?:mtllib|o|g|s|usemtl|vn|vt)[ \t][^\n]*\n)*+v[ \t]"),
        _MESHES,
        "from_obj",
    ),
    (re.compile(rb""), f"{_CLOUDS}.tables", "from_lines"),
)
_BY_LIBRARIES = (_MESHES, _SCANS)  # trimesh with scipy and networkx, laspy with requests: 70 MB of a process
_HEAD = 64 * 1024  # bytes in which a format shows


def reader_of(data: bytes) -> tuple[str, str]:
    """Module and function."""
    head = data[:_HEAD]
    return next((module, function) for begins, module, function in READERS if begins.match(head))


def is_by_library(data: bytes) -> bool:
    """Whether a large library has to read it: meshes and laser scans."""
    return reader_of(data)[0] in _BY_LIBRARIES
