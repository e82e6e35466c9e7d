"""Laser scans: LAS, and LAZ, which is LAS packed. Coordinates are the scan's own, scaled by its header's factors."""

import io

import laspy
import numpy as np
import numpy.typing as npt

from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check


def from_las(data: bytes, limits: Limits) -> npt.NDArray[np.float64]:
    with decoding("LAS file"), laspy.open(io.BytesIO(data), laz_backend=laspy.LazBackend.Lazrs) as scan:
        check(scan.header.point_count, limits.points, "the cloud", "points")
        points = scan.read_points(scan.header.point_count)
        return np.stack([np.asarray(points[axis], dtype=np.float64) for axis in ("x", "y", "z")], axis=1)
