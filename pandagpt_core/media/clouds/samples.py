"""A tiny cloud in each format that a library reads, made here: for the decoders' warm-up and tests."""

import io

import laspy
import numpy as np
import trimesh

from pandagpt_core.ndarrays import AnyArray

CORNERS = np.array([[0.0, 0, 1], [1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])


def files() -> list[bytes]:
    mesh = trimesh.Trimesh(CORNERS, FACES, process=False)
    exported = [mesh.export(file_type=kind) for kind in ("glb", "obj", "ply")]
    return [
        *(each.encode() if isinstance(each, str) else each for each in exported),
        scan(CORNERS, False),
        scan(CORNERS, True),
    ]


def scan(points: AnyArray, packed: bool) -> bytes:
    """[number, 3] as LAS, or as LAZ if packed."""
    data = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
    data.x, data.y, data.z = points.T
    out = io.BytesIO()
    data.write(out, do_compress=packed, laz_backend=laspy.LazBackend.Lazrs if packed else None)
    return out.getvalue()
