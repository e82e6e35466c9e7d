"""The modalities of this project: ImageBind's six (Girdhar et al. 2023, section 3), video apart from pictures.

Point-Bind (Guo et al. 2023) adds point clouds.
"""

from types import MappingProxyType

from pandagpt_core.modalities.entry import Composition, Entry, Number, Recipe, Selection


def _text(words: str) -> str:
    """One line of a text that is written over several."""
    return " ".join(words.split())


_MEDIA = "pandagpt_core.media"
_SAMPLES = f"{_MEDIA}.samples"
_MAPS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy", ".npz", ".pfm", ".exr", ".mat", ".h5", ".hdf5")
_MOTION_UNITS = ("m/s2", "g", "rad/s", "deg/s", "m/s2 rad/s", "m/s2 deg/s", "g rad/s", "g deg/s")
_TEMPERATURES = ("celsius", "kelvin", "centikelvin")

IMAGE = Entry(
    name="image",
    label="picture",
    formats=_text("""
        JPEG (beyond the limit of pixels at a reduced size), PNG, WebP, GIF, BMP, TIFF, HEIC and
        HEIF, AVIF
    """),
    reads=_text("""
        EXIF orientation; transparency (on white, on dark grey where white hides the drawing); the
        bits of deep grey by its largest value; the first frame of an animation that is not blank
    """),
    about="a picture",
    recipes=(
        Recipe(
            "imagebind-image-v1",
            f"{_MEDIA}.pictures.image",
            "imagebind",
            "[1, 3, 224, 224]",
            "the published loader: EXIF orientation ignored, alpha dropped, 16-bit grey clipped at 255",
        ),
        Recipe(
            "eva-image-v1",
            f"{_MEDIA}.pictures.image",
            "eva",
            "[1, 3, 448, 448]",
            "MiniGPT-v2: turned as EXIF says, both sides resized",
        ),
        Recipe(
            "lite0-image-v1",
            f"{_MEDIA}.pictures.image",
            "lite0",
            "[1, 3, 224, 224] of Lite0",
            "as a viewer shows it",
            reading=2,
        ),
        Recipe(
            "lite0-detail-v1",
            f"{_MEDIA}.pictures.image",
            "lite0_detail",
            "[1, 3, 320, 544] of Lite0",
            "as a viewer shows it: both sides resized to 320, and beside it the crop of 224",
        ),
    ),
    sample=(_SAMPLES, "picture"),
    limits=("bytes", "pixels", "aspect"),
    mime=MappingProxyType(
        {
            ".jpg": "image/jpeg",
            ".jpeg": "image/jpeg",
            ".png": "image/png",
            ".webp": "image/webp",
            ".gif": "image/gif",
            ".bmp": "image/bmp",
            ".tif": "image/tiff",
            ".tiff": "image/tiff",
            ".heic": "image/heic",
            ".heif": "image/heif",
            ".avif": "image/avif",
        }
    ),
)
VIDEO = Entry(
    name="video",
    label="video",
    formats=_text("""
        MP4, MOV, 3GP, WebM, Matroska, AVI, MPEG-TS, MPEG-PS, WMV, FLV, OGV of H.264, HEVC, VP8,
        VP9, AV1, MPEG-1, -2 and -4, ProRes, MJPEG, Theora, H.263, Sorenson, VP6, WMV, VC-1; GIF,
        WebP, APNG
    """),
    reads=_text("""
        display matrix, pixel aspect, colour range and matrix, the time of every frame
    """),
    about="a film",
    recipes=(
        Recipe(
            "imagebind-video-v1",
            f"{_MEDIA}.video.video",
            "imagebind",
            "[15, 3, 2, 224, 224]",
            "the published loader: five clips of 2 s by count of frames, three crops; display matrix ignored",
        ),
        Recipe(
            "lite0-video-v1",
            f"{_MEDIA}.video.video",
            "lite0",
            "[8, 3, 224, 224]",
            "as a viewer shows it: frames in the middles of eight equal spans of time",
            reading=2,
        ),
    ),
    sample=(_SAMPLES, "film"),
    parameters=(
        Composition(
            "use_audio",
            "whether its sound is a medium of the request too",
            "audio",
            "audio",
            label="Its own sound too",
        ),
    ),
    limits=("bytes", "video_pixels", "aspect", "frames", "frame_pixels", "seconds"),
    mime=MappingProxyType(
        {
            ".mp4": "video/mp4",
            ".mov": "video/quicktime",
            ".webm": "video/webm",
            ".mkv": "video/x-matroska",
            ".avi": "video/x-msvideo",
            ".3gp": "video/3gpp",
            ".ts": "video/mp2t",
            ".m2ts": "video/mp2t",
            ".mpg": "video/mpeg",
            ".mpeg": "video/mpeg",
            ".wmv": "video/x-ms-wmv",
            ".flv": "video/x-flv",
            ".ogv": "video/ogg",
        }
    ),
)
AUDIO = Entry(
    name="audio",
    label="sound",
    formats=_text("""
        WAV (PCM, float, A-law, mu-law, ADPCM, GSM; also of size zero), FLAC, Ogg (Vorbis, Opus,
        Speex, FLAC), MP3 (also behind junk), AAC, M4A, AMR, AIFF, AU, CAF, W64, and the sound of a
        video's container
    """),
    reads=_text("""
        rate, channels
    """),
    about="a sound",
    recipes=(
        Recipe(
            "imagebind-audio-v1",
            f"{_MEDIA}.sound.audio",
            "imagebind",
            "[3, 1, 128, 204]",
            "the published loader: three even clips of 2 s, channel 0 alone",
        ),
        Recipe(
            "mixed-audio-v1",
            f"{_MEDIA}.sound.audio",
            "mixed",
            "[3, 1, 128, 204]",
            "three clips of 2 s where there is sound, all channels mixed (ITU-R BS.775)",
        ),
    ),
    sample=(_SAMPLES, "tone"),
    parameters=(
        Selection(
            "clips",
            "where the clips of a long sound lie: where it is loudest, or evenly",
            ("loud", "even"),
            label="Clips of a long sound",
            otherwise="loud; a model with ImageBind's recipe takes none and has them even",
        ),
    ),
    limits=("bytes", "seconds", "samples", "channels", "sample_rate"),
    mime=MappingProxyType(
        {
            ".wav": "audio/wav",
            ".flac": "audio/flac",
            ".ogg": "audio/ogg",
            ".mp3": "audio/mpeg",
            ".m4a": "audio/mp4",
            ".aac": "audio/aac",
            ".amr": "audio/amr",
            ".aif": "audio/aiff",
            ".aiff": "audio/aiff",
            ".au": "audio/basic",
            ".caf": "audio/x-caf",
            ".w64": "audio/x-w64",
            ".opus": "audio/ogg",
            ".spx": "audio/ogg",
        }
    ),
)
DEPTH = Entry(
    name="depth",
    label="depth map",
    own="depth-parameters-v1",
    formats=_text("""
        grey PNG or TIFF of 8 or 16 bits or floats, .npy, PFM, EXR (one channel, or Z); .npz, MATLAB
        (5 to 7.3) and HDF5 of one map, or one that is named so
    """),
    reads=_text("""
        EXIF orientation; NaN, infinity, zero and less are no reading; focal length, baseline, scale
        and unit where arrays beside the map, its name (depth_mm), texts of a PNG, the description of a
        TIFF, attributes of an EXR or EXIF name them
    """),
    about="a depth map",
    recipes=(
        Recipe(
            "depth-sunrgbd-v1",
            f"{_MEDIA}.maps.depth",
            "sunrgbd",
            "[1, 1, 224, 224] of disparity",
            "disparity as Omnivore makes it",
            reading=4,
        ),
    ),
    sample=(_SAMPLES, "depth_map"),
    sample_params=MappingProxyType({"unit": "m", "focal_px": 500.0, "baseline_m": 0.1}),
    parameters=(
        Selection("unit", "of the map's numbers", ("m", "mm", "disparity", "sunrgbd", "relative")),
        Number("scale", "numbers a metre, in place of a unit", 1e-6, 1e6, "1/m"),
        Number("focal_px", "the camera's focal length", 0, 1e6, "pixels", open_low=True, label="Focal length"),
        Number("baseline_m", "the camera's baseline", 0, 1e3, "m", open_low=True),
    ),
    limits=("bytes", "pixels", "aspect", "elements"),
    named=_MAPS,
)
THERMAL = Entry(
    name="thermal",
    label="thermal picture",
    own="thermal-parameters-v1",
    formats=_text("""
        grey pictures and arrays as for depth; colour pictures by their brightness; FLIR radiometric
        JPEG, by its documented layout alone: tested with made-up files, for want of a camera's own
    """),
    reads=_text("""
        EXIF orientation; a FLIR camera's Planck constants and shown range; NaN and infinity are no
        reading; unit, low and high where the file names them as for depth, and the span of a TIFF's
        numbers by its tags (MinSampleValue, MaxSampleValue)
    """),
    about="a thermal picture",
    recipes=(
        Recipe(
            "imagebind-thermal-v1",
            f"{_MEDIA}.maps.thermal",
            "imagebind",
            "[1, 1, 224, 224]",
            "the published loader without low and high: EXIF orientation ignored, 16-bit grey clipped at 255",
            reading=3,
        ),
        Recipe(
            "shown-thermal-v1",
            f"{_MEDIA}.maps.thermal",
            "shown",
            "[1, 1, 224, 224]",
            "turned as EXIF says; deep grey by low and high, a unit, or the camera's constants (FLIR)",
            reading=3,
        ),
    ),
    sample=(_SAMPLES, "warm_picture"),
    parameters=(
        Selection(
            "unit",
            "of the picture's numbers; low and high are degrees Celsius then",
            ("raw", *_TEMPERATURES),
            otherwise="what the file says, else raw",
        ),
        Number("low", "the value that becomes 0; comes with high", -1e9, 1e9, "the picture's unit"),
        Number("high", "the value that becomes 1; comes with low", -1e9, 1e9, "the picture's unit"),
    ),
    limits=("bytes", "pixels", "aspect", "elements"),
    named=_MAPS,
)
IMU = Entry(
    name="imu",
    label="motion recording",
    formats=_text("""
        tables of text (comma, semicolon, tab, blanks; decimal comma; quotes; comments; UTF-8,
        UTF-16), JSON (rows, records, records a line, columns, Sensor Logger), .npy, zip of one
        table a sensor (phyphox, Sensor Logger); Parquet; MATLAB (5 to 7.3) and HDF5 of a matrix a
        sensor or a vector a channel; the text files of UCI HAR, zipped
    """),
    reads=_text("""
        names of columns: sensor, axis, unit; times (s, ms, us, ns, ISO 8601), which give the rate;
        a rate in a comment; empty cells and NaN are no reading
    """),
    about="a recording of accelerometer and gyroscope",
    recipes=(
        Recipe(
            "imu-v1",
            f"{_MEDIA}.motion.imu",
            "resampled",
            "[1, 6, 2000]",
            "the middle five seconds at 400 Hz; a shorter one is repeated",
            reading=4,
        ),
    ),
    sample=(_SAMPLES, "recording"),
    sample_params=MappingProxyType({"rate_hz": 50.0}),
    parameters=(
        Number("rate_hz", "rows a second, where nothing in the file tells it", 0, 1e5, "Hz", open_low=True),
        Selection(
            "units",
            "of the sensors, where the names of the columns do not tell them",
            _MOTION_UNITS,
            otherwise="what the names say, else m/s2 rad/s",
        ),
    ),
    limits=("bytes", "table_bytes", "imu_rows", "elements"),
    mime=MappingProxyType({".csv": "text/csv"}),
    named=(".npy", ".json", ".jsonl", ".txt", ".tsv", ".zip", ".parquet", ".mat", ".h5", ".hdf5"),
)
TEXT = Entry(
    name="text",
    label="context text",
    formats=_text("""
        UTF-8
    """),
    reads=_text("""
        nothing
    """),
    about="text as a modality: through the text tower into the shared space, not into the prompt",
    recipes=(
        Recipe(
            "clip-bpe-v1",
            f"{_MEDIA}.text",
            "clip_bpe",
            "[1, 77]",
            "the first 75 tokens of CLIP",
            batch="clip-bpe-batch-v1",
        ),
    ),
    sample=(_SAMPLES, "words"),
    limits=("bytes", "characters"),
    is_file=False,
)
POINTS = Entry(
    name="points",
    label="point cloud",
    about="a 3D point cloud, or a mesh's vertices; colours, normals and faces are not read",
    recipes=(Recipe("points-8192-v1", f"{_MEDIA}.clouds.points", "unit_sphere"),),
    sample=(_SAMPLES, "cloud"),
    parameters=(
        Number(
            "start",
            "the row, after resampling to 8,192, that the choice of group centres begins with",
            0,
            8191,
            "rows",
            otherwise="0",
        ),
    ),
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
)
ENTRIES = (IMAGE, VIDEO, AUDIO, DEPTH, THERMAL, IMU, TEXT, POINTS)
# No encoder's: for answers that name places in a picture, for many texts at once, and for the parameters that a file
# names itself.
TOOLS = (
    Recipe("clip-bpe-batch-v1", f"{_MEDIA}.text", "clip_bpe_batch"),
    Recipe("picture-size-v1", f"{_MEDIA}.pictures.annotate", "size"),
    Recipe("annotated-picture-v1", f"{_MEDIA}.pictures.annotate", "annotated"),
    Recipe("depth-parameters-v1", f"{_MEDIA}.maps.parameters", "depth"),
    Recipe("thermal-parameters-v1", f"{_MEDIA}.maps.parameters", "heat"),
)
