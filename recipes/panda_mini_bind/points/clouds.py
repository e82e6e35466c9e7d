"""Clouds of meshes, made once, and varied each time that they are drawn: turned, stretched, thinned, cut, shaken."""

import numpy as np
import numpy.typing as npt

from recipes.panda_mini_bind.points.meshes import NamedMesh, surface

KEPT, SEEN = 4096, 1024  # points of a mesh that are kept, and of those in an example
VIEWS = 2  # of each mesh: its vertices, and points all over its surface

Cloud = npt.NDArray[np.float32]


def clouds_of(mesh: NamedMesh) -> Cloud:
    """[VIEWS, KEPT, 3]: the mesh's vertices as the service reads them, and its surface."""
    loaded = mesh.load()
    vertices = np.asarray(loaded.vertices, dtype=np.float64)
    chosen = np.random.default_rng(0).choice(len(vertices), KEPT, replace=len(vertices) < KEPT)
    return np.stack([scaled(vertices[chosen]), scaled(surface(loaded, KEPT))])


def varied(clouds: Cloud, rng: np.random.Generator) -> Cloud:
    """[SEEN, 3] of [VIEWS, KEPT, 3]."""
    cloud = clouds[int(rng.integers(VIEWS))]
    if rng.random() < 0.3:
        cloud = _cut(cloud, rng)
    cloud = cloud[rng.choice(len(cloud), SEEN, replace=len(cloud) < SEEN, p=_density(cloud, rng))]
    cloud = cloud @ _turn(rng).T * rng.uniform(0.8, 1.25, 3)
    return scaled(cloud + rng.normal(0, rng.uniform(0, 0.02), cloud.shape))


def scaled(cloud: npt.NDArray[np.floating]) -> Cloud:
    """Centred on the mean, in the unit sphere: as the service's recipe leaves it."""
    centred = cloud - cloud.mean(axis=0)
    inside: Cloud = (centred / max(np.linalg.norm(centred, axis=1).max(), 1e-9)).astype(np.float32)
    return inside


def _cut(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    """The cloud without the points on one side of a plane, at most a third."""
    along = cloud @ _direction(rng)
    seen: Cloud = cloud[along >= np.quantile(along, rng.uniform(0, 1 / 3))]
    return seen


def _density(cloud: Cloud, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """More points on one side than on the other, as a scanner that stands somewhere finds them."""
    weights = np.exp(rng.uniform(0, 1.5) * (cloud @ _direction(rng)).astype(np.float64))
    odds: npt.NDArray[np.float64] = weights / weights.sum()
    return odds


def _turn(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Around what is up, by any angle, and a little to the side; up is y, as in the meshes, or z."""
    around, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.1)
    c, s = np.cos(around), np.sin(around)
    turned = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(tilt), np.sin(tilt)
    turned = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ turned
    upright = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) if rng.random() < 0.5 else np.eye(3)
    both: npt.NDArray[np.float64] = upright @ turned
    return both


def _direction(rng: np.random.Generator) -> Cloud:
    one = rng.normal(size=3)
    unit: Cloud = (one / np.linalg.norm(one)).astype(np.float32)
    return unit
