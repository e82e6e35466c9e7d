"""One number a pixel: depth and temperature."""

from types import MappingProxyType

from pandagpt_core.modalities.builtin.writing import MEDIA, SAMPLES, one_line
from pandagpt_core.modalities.entry import Entry, Number, Recipe, Selection

_MAPS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".npz", ".pfm", ".exr", ".mat", ".h5", ".hdf5")
DEPTH_UNIT = Selection("unit", "of the map's numbers", ("m", "mm", "disparity", "sunrgbd", "relative"))
SCALE = Number("scale", "numbers a metre, in place of a unit", 1e-6, 1e6, "1/m")
FOCAL = Number("focal_px", "the camera's focal length", 1, 1e6, "pixels", label="Focal length")
BASELINE = Number("baseline_m", "the camera's baseline", 1e-4, 100, "m")
THERMAL_UNIT = Selection(
    "unit",
    "of the picture's numbers; low and high are degrees Celsius then",
    ("raw", "celsius", "kelvin", "centikelvin"),
    otherwise="the value in the file, else raw",
)
LOW = Number("low", "the value that becomes 0; comes with high", -1e9, 1e9, "the picture's unit")
HIGH = Number("high", "the value that becomes 1; comes with low", -1e9, 1e9, "the picture's unit")
DEPTH = Entry(
    name="depth",
    label="depth map",
    own="depth-parameters-v1",
    formats=one_line("""
        grey PNG or TIFF of 8 or 16 bits or floats, .npy, PFM, EXR (one channel, or Z); .npz, MATLAB
        (5 to 7.3) and HDF5 of one map, or one that is named so
    """),
    reads=one_line("""
        EXIF orientation; NaN, infinity, zero and less, and what is transparent are no reading; the
        first frame of an animation that is not blank; focal length, baseline, scale
        and unit where arrays beside the map, its name (depth_mm), texts of a PNG, the description of a
        TIFF, attributes of an EXR or EXIF name them
    """),
    about="a depth map",
    recipes=(
        Recipe(
            "depth-sunrgbd-v1",
            f"{MEDIA}.maps.depth",
            "sunrgbd",
            "[1, 1, 224, 224] of disparity",
            "disparity as Omnivore makes it",
            reading=6,
        ),
        Recipe(
            "languagebind-depth-v1",
            f"{MEDIA}.maps.metric",
            "languagebind",
            "[1, 3, 224, 224] of metres",
            "LanguageBind: metres up to 10, divided by that, in three equal channels with CLIP's statistics",
        ),
    ),
    shown="depth-sunrgbd-v1",
    sample=(SAMPLES, "depth_map"),
    sample_params=MappingProxyType({"unit": "m", "focal_px": 500.0, "baseline_m": 0.1}),
    parameters=(DEPTH_UNIT, SCALE, FOCAL, BASELINE),
    limits=("bytes", "pixels", "aspect", "elements"),
    named=_MAPS,
)
THERMAL = Entry(
    name="thermal",
    label="thermal picture",
    own="thermal-parameters-v1",
    formats=one_line("""
        grey pictures and arrays as for depth; colour pictures by their brightness; FLIR radiometric
        JPEG, by its documented layout alone: tested with made-up files, for want of a camera's own
    """),
    reads=one_line("""
        EXIF orientation; transparency and the first frame as of a picture; a FLIR camera's Planck
        constants and shown range; NaN and infinity are no reading; unit, low and high where the file
        names them as for depth, and the span of a TIFF's numbers by its tags (MinSampleValue,
        MaxSampleValue)
    """),
    about="a thermal picture",
    recipes=(
        Recipe(
            "imagebind-thermal-v1",
            f"{MEDIA}.maps.thermal",
            "imagebind",
            "[1, 1, 224, 224]",
            "the published loader without low and high: EXIF orientation ignored, 16-bit grey clipped at 255",
            reading=4,
        ),
        Recipe(
            "shown-thermal-v1",
            f"{MEDIA}.maps.thermal",
            "shown",
            "[1, 1, 224, 224]",
            "turned as EXIF says; deep grey by low and high, a unit, or the camera's constants (FLIR)",
            reading=4,
        ),
        Recipe(
            "languagebind-thermal-v1",
            f"{MEDIA}.maps.thermal",
            "languagebind",
            "[1, 3, 224, 224]",
            "LanguageBind: colours as they are shown, grey as by the recipe above in three equal channels",
        ),
    ),
    shown="shown-thermal-v1",
    sample=(SAMPLES, "warm_picture"),
    parameters=(THERMAL_UNIT, LOW, HIGH),
    limits=("bytes", "pixels", "aspect", "elements"),
    named=_MAPS,
)
