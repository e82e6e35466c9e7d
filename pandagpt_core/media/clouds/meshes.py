"""Clouds and meshes as trimesh reads them: PLY, OBJ and binary glTF. The vertices count, faces and materials do not."""

import io
import re

import numpy as np
import numpy.typing as npt
import trimesh

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

MAX_HEADER = 64 * 1024  # bytes of a PLY header, which holds a line a property
_PLY_COUNT = re.compile(rb"^element\s+(\w+)\s+(\d+)\s*$", re.MULTILINE)
_OBJ_VERTEX = re.compile(rb"^v[ \t]", re.MULTILINE)


def from_ply(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    """Text or binary. The header's counts are checked before anything is made of them."""
    header, found, _ = data[:MAX_HEADER].partition(b"end_header")
    if not found:
        raise InvalidMedia(f"the PLY file has no header of at most {MAX_HEADER} bytes")
    for name, count in _PLY_COUNT.findall(header.replace(b"\r", b"\n")):
        what = "the cloud" if name == b"vertex" else "an element of the PLY file"
        check(_bounded(count), limits.points, what, "points" if name == b"vertex" else "entries")
    return _vertices(data, "ply", limits)


def from_obj(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    check(sum(1 for _ in _OBJ_VERTEX.finditer(data)), limits.points, "the cloud", "points")
    return _vertices(data, "obj", limits)


def from_glb(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    """All meshes of the scene where the scene puts them. Only data inside of the file is read."""
    return _vertices(data, "glb", limits)


def _vertices(data: bytes, kind: str, limits: Limits) -> npt.NDArray[np.float64]:
    with decoding(f"{kind.upper()} file"):
        scene = trimesh.load_scene(
            io.BytesIO(data), file_type=kind, skip_materials=True, process=False, maintain_order=True
        )
        nodes = [scene.graph[name] for name in scene.graph.nodes_geometry]
        check(sum(len(scene.geometry[shape].vertices) for _, shape in nodes), limits.points, "the cloud", "points")
        placed = [trimesh.transform_points(scene.geometry[shape].vertices, matrix) for matrix, shape in nodes]
    return np.concatenate([np.zeros((0, 3)), *placed]).astype(np.float64)


def _bounded(digits: bytes) -> float:
    """A count of any length as a number; int() of thousands of digits would be refused by Python."""
    return float(digits[:300])
