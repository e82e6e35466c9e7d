"""Named meshes of Debian's sweethome3d-furniture: which are which concept, and which are held out."""

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import trimesh

from recipes.panda_mini.data.packages import Package

FURNITURE = Package(
    "debian",
    "sweethome3d-furniture",
    "CC-BY-3.0 and CC0-1.0",
    "train",
    "meshes of furniture, vehicles, trees and small things",
    "Kator Legaz, Scopia, contributors of Blend Swap",
)
_LIBRARIES = ("BlendSwap-CC-0", "BlendSwap-CC-BY", "KatorLegaz", "Scopia")
_CATALOG = "PluginFurnitureCatalog.properties"
_ENTRY = re.compile(r"(name|model)#(\d+)=(.*)")
# The catalogs' names of each concept, in lower case; concepts of fewer than three meshes are left out.
NAMES: Mapping[str, tuple[str, ...]] = {
    "chair": (
        *("chair", "armchair", "oak chair", "deck chair", "relax chair", "cafe chair", "folding chair", "child chair"),
        *("children chair", "chair with cushion", "osaka chair", "winchester armchair", "teck chair", "plastic chair"),
        *("modern armchair", "bar chair", "beach chair", "rattan armchair", "ryokan chair"),
    ),
    "bed": ("bed", "baby bed", "child bed", "iron bed", "hospital bed", "captain's bed", "day bed", "crib"),
    "door": ("door", "exterior door", "screen door", "double door", "double door with panes", "elevator door"),
    "tree": (
        *("christmas tree", "acacia", "copper beech", "cypress", "japanese maple", "poplar", "peach blossom", "pine"),
        *("pine under snow", "blue pine under snow", "sycamore maple", "bonsai tree"),
    ),
    "palm tree": ("palm tree", "coconut tree", "bended coconut tree"),
    "car": (
        *("concept sedan 01", "concept sedan 02", "concept sedan 02 sport", "vw new beetle", "seat leon", "ford focus"),
        *("peugeot 308 cc", "renault scenic", "suv", "chevrolet", "smart car", "car model"),
    ),
    "truck": ("truck",),
    "television": ("tv", "tv 16:9", "wall flat tv"),
    "toilet": ("toilets unit",),
    "shoe": ("bootie", "sneakers", "woman shoes", "mocassin", "slippers"),
    "coffee": ("coffee cup", "coffee mug"),
}
_EVERY = 3  # the last of so many meshes of a concept is held out


@dataclass(frozen=True, slots=True)
class NamedMesh:
    concept: str
    name: str  # library and file
    data: bytes  # an OBJ file

    def load(self) -> trimesh.Trimesh:
        mesh = trimesh.load(io.BytesIO(self.data), file_type="obj", force="mesh", process=False, skip_materials=True)
        assert isinstance(mesh, trimesh.Trimesh)
        return mesh


def surface(mesh: trimesh.Trimesh, count: int) -> npt.NDArray[np.float64]:
    """[count, 3] points all over the faces; always the same."""
    points, _ = trimesh.sample.sample_surface(mesh, count, seed=0)
    return np.asarray(points, dtype=np.float64)


def named_meshes(packages: Path) -> list[NamedMesh]:
    """In the order of the libraries' catalogs."""
    concept_of = {name: concept for concept, names in NAMES.items() for name in names}
    libraries = packages / FURNITURE.folder / "usr/share/sweethome3d/furniture"
    return [
        NamedMesh(concept_of[name], f"{library}/{model.rpartition('/')[2]}", data)
        for library in _LIBRARIES
        for name, model, data in _entries(libraries / f"{library}.sh3f")
        if name in concept_of
    ]


def split(meshes: list[NamedMesh]) -> tuple[list[NamedMesh], list[NamedMesh]]:
    """Meshes for training, and those held out: every third of each concept. A mesh that lies in two places of a library
    is on one side alone."""
    parts: tuple[list[NamedMesh], list[NamedMesh]] = ([], [])
    of_concept: dict[str, list[bytes]] = defaultdict(list)
    for mesh in meshes:
        seen = of_concept[mesh.concept]
        if mesh.data not in seen:
            seen.append(mesh.data)
            parts[len(seen) % _EVERY == 0].append(mesh)
    return parts


def _entries(library: Path) -> Iterator[tuple[str, str, bytes]]:
    """Each entry of a catalog: its name in lower case, the path of its model, and the model."""
    with zipfile.ZipFile(library) as archive:
        entries: dict[int, dict[str, str]] = defaultdict(dict)
        for line in archive.read(_CATALOG).decode("latin-1").splitlines():
            if found := _ENTRY.match(line):
                entries[int(found[2])][found[1]] = found[3].strip()
        held = set(archive.namelist())
        for entry in entries.values():
            model = entry.get("model", "").lstrip("/")
            if model in held and model.endswith(".obj"):
                yield entry["name"].lower(), model, archive.read(model)
