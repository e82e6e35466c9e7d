"""3D point clouds to [1, 8192, 3]: centred on their mean, scaled to the unit sphere, as Point-Bind's encoder expects.

Colours, normals and faces are not read: the encoder has no place for them.
"""

from collections.abc import Callable
from importlib import import_module

import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.clouds.magic import reader_of
from pandagpt_core.media.limits import Limits
from pandagpt_core.modalities.builtin.clouds import POINTS, START
from pandagpt_core.ndarrays import Float64Array

COUNT = int(START.high) + 1  # 8,192 points that the encoder reads
SEED = 0  # of the choice where a cloud has more or fewer
ALREADY = 1e-6  # a cloud centred and scaled to this is left as it is, so that a second pass changes nothing

CloudReader = Callable[[bytes, Limits], Float64Array]


def unit_sphere(data: bytes, params: p.Params, limits: Limits) -> npt.NDArray[np.float32]:
    """PLY, OBJ, GLB (their vertices), XYZ, TXT, CSV, NPY, NPZ, PCD, LAS or LAZ.

    Points that are not finite are dropped. A cloud of another size than 8,192 is resampled at random, always the same
    way. `start` is the row of the resampled cloud that the choice of group centres begins with; it comes first.
    """
    p.of_entry(params, POINTS)
    start = p.number(params, START) or 0.0
    if not start.is_integer():
        raise InvalidMedia(f"start is {start:g}; it must be a whole number", param="start")
    read = _reader(data)(data, limits)
    finite = _finite(read)
    notes.fact("points", f"{len(read):,}, resampled to {COUNT:,}; colours, normals and faces are not read")
    if dropped := len(read) - len(finite):
        notes.warn(f"{dropped:,} of the {len(read):,} points are not finite and were left out.")
    cloud = _scaled(_resampled(finite))
    return np.roll(cloud, -int(start), axis=0).astype(np.float32)[None]


def _reader(data: bytes) -> CloudReader:
    module, function = reader_of(data)
    reader: CloudReader = getattr(import_module(module), function)
    return reader


def _finite(cloud: Float64Array) -> Float64Array:
    kept = cloud[np.isfinite(cloud).all(axis=1)]
    if not len(kept):
        raise InvalidMedia(f"the cloud has 0 points with finite coordinates, of {len(cloud)}; at least 1 is needed")
    return kept


def _resampled(cloud: Float64Array) -> Float64Array:
    """8,192 rows: as they are, a random choice, or each as often as fits and a random choice for the rest.

    RandomState's stream is fixed for all versions of numpy, which the embedding caches rely on.
    """
    repeats, rest = divmod(COUNT, len(cloud))
    if not rest:
        return np.tile(cloud, (repeats, 1))
    chosen = np.random.RandomState(SEED).permutation(len(cloud))[:rest]
    return np.concatenate([*[cloud] * repeats, cloud[np.sort(chosen)]])


def _scaled(cloud: Float64Array) -> Float64Array:
    largest = np.abs(cloud).max()
    cloud = cloud / largest if largest > 1e100 else cloud  # so that sums and squares stay finite
    middle = cloud.mean(axis=0)
    radius = np.linalg.norm(cloud - middle, axis=1).max()
    if np.abs(middle).max() < ALREADY and abs(radius - 1) < ALREADY:
        return cloud
    if not radius > 1e-9 * max(np.abs(cloud).max(), 1e-300):
        raise InvalidMedia("the cloud's points are all at one place; a shape needs at least 2 places")
    scaled: Float64Array = (cloud - middle) / radius
    return scaled
