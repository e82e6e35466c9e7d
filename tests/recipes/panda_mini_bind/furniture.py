"""A package of meshes in the layout of Sweet Home 3D's furniture."""

import zipfile
from pathlib import Path

import trimesh

from recipes.panda_mini_bind.points.meshes import FURNITURE


def box(*sides: float) -> bytes:
    return trimesh.creation.box(sides).export(file_type="obj").encode()


def library(packages: Path) -> None:
    folder = packages / FURNITURE.folder / "usr/share/sweethome3d/furniture"
    folder.mkdir(parents=True)
    for at, name in enumerate(("BlendSwap-CC-0", "BlendSwap-CC-BY", "KatorLegaz", "Scopia")):
        with zipfile.ZipFile(folder / f"{name}.sh3f", "w") as archive:
            named = f"name#1=Chair\nmodel#1=/a/{at}.obj\nname#2=Vase\nmodel#2=/a/v.obj\n"
            archive.writestr("PluginFurnitureCatalog.properties", named)
            archive.writestr(f"a/{at}.obj", box(1, 1, min(at, 2) + 1))
            archive.writestr("a/v.obj", box(2, 1, 1))
