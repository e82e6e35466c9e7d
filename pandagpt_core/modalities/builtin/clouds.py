"""Point clouds (Guo et al. 2023)."""

from types import MappingProxyType

from pandagpt_core.modalities.builtin.writing import MEDIA, SAMPLES, one_line
from pandagpt_core.modalities.entry import Entry, Number, Recipe

START = Number(
    "start",
    "the row, after resampling to 8,192, that the choice of group centres begins with",
    0,
    8191,
    "rows",
    otherwise="0",
)
POINTS = Entry(
    name="points",
    label="point cloud",
    about="a 3D point cloud, or a mesh's vertices; colours, normals and faces are not read",
    recipes=(
        Recipe(
            "points-8192-v1",
            f"{MEDIA}.clouds.points",
            "unit_sphere",
            array="[1, 8192, 3]",
            about="resampled to 8,192 at random, the same way each time, then centred and scaled to the unit sphere",
        ),
    ),
    sample=(SAMPLES, "cloud"),
    parameters=(START,),
    limits=("bytes", "points", "elements"),
    mime=MappingProxyType(
        {
            ".ply": "application/x-ply",
            ".obj": "model/obj",
            ".glb": "model/gltf-binary",
            ".xyz": "chemical/x-xyz",
            ".pcd": "application/x-pcd",
            ".las": "application/vnd.las",
            ".laz": "application/vnd.laszip",
        }
    ),
    named=(".npy", ".npz", ".csv", ".txt"),
    formats=one_line("""
        PLY, OBJ and GLB (their vertices), PCD, LAS, LAZ, .npy and .npz of (N, 3) or wider, tables of
        numbers (XYZ, PTS, TXT, CSV; a line of names may say where x, y and z are)
    """),
    reads=one_line("""
        x, y and z alone: colours, normals, faces and further columns are not read; points that are not
        finite are left out, with a warning
    """),
)
