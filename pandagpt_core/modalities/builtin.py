"""The modalities of this project: ImageBind's six (Girdhar et al. 2023, section 3), video apart from pictures.

Point-Bind (Guo et al. 2023) adds point clouds.
"""

from types import MappingProxyType

from pandagpt_core.modalities.entry import Choice, Entry, Number, Recipe

_MEDIA = "pandagpt_core.media"
_SAMPLES = f"{_MEDIA}.samples"
_MAPS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")

IMAGE = Entry(
    name="image",
    about="a picture",
    recipes=(
        Recipe("imagebind-image-v1", f"{_MEDIA}.image", "imagebind"),
        Recipe("eva-image-v1", f"{_MEDIA}.image", "eva"),
        Recipe("lite0-image-v1", f"{_MEDIA}.image", "lite0"),
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
        }
    ),
)
VIDEO = Entry(
    name="video",
    about="a film",
    recipes=(
        Recipe("imagebind-video-v1", f"{_MEDIA}.video", "imagebind"),
        Recipe("lite0-video-v1", f"{_MEDIA}.video", "lite0"),
    ),
    sample=(_SAMPLES, "film"),
    limits=("bytes", "video_pixels", "aspect", "frames", "frame_pixels", "seconds"),
    mime=MappingProxyType(
        {
            ".mp4": "video/mp4",
            ".mov": "video/quicktime",
            ".webm": "video/webm",
            ".mkv": "video/x-matroska",
            ".avi": "video/x-msvideo",
        }
    ),
)
AUDIO = Entry(
    name="audio",
    about="a sound",
    recipes=(Recipe("imagebind-audio-v1", f"{_MEDIA}.audio", "imagebind"),),
    sample=(_SAMPLES, "tone"),
    limits=("bytes", "seconds", "samples", "channels", "sample_rate"),
    mime=MappingProxyType(
        {
            ".wav": "audio/wav",
            ".flac": "audio/flac",
            ".ogg": "audio/ogg",
            ".mp3": "audio/mpeg",
            ".m4a": "audio/mp4",
        }
    ),
)
DEPTH = Entry(
    name="depth",
    about="a depth map",
    recipes=(Recipe("depth-sunrgbd-v1", f"{_MEDIA}.depth", "sunrgbd"),),
    sample=(_SAMPLES, "depth_map"),
    sample_params=MappingProxyType({"unit": "m", "focal_px": 500.0, "baseline_m": 0.1}),
    parameters=(
        Choice("unit", "of the map's numbers", ("m", "mm", "disparity", "sunrgbd")),
        Number("focal_px", "the camera's focal length", 0, 1e6, "pixels", open_low=True),
        Number("baseline_m", "the camera's baseline", 0, 1e3, "m", open_low=True),
    ),
    limits=("bytes", "pixels", "aspect", "elements"),
    named=_MAPS,
)
THERMAL = Entry(
    name="thermal",
    about="a thermal picture",
    recipes=(Recipe("imagebind-thermal-v1", f"{_MEDIA}.thermal", "imagebind"),),
    sample=(_SAMPLES, "warm_picture"),
    parameters=(
        Number("low", "the raw value that becomes 0; comes with high", -1e9, 1e9),
        Number("high", "the raw value that becomes 1; comes with low", -1e9, 1e9),
    ),
    limits=("bytes", "pixels", "aspect", "elements"),
    named=_MAPS,
)
IMU = Entry(
    name="imu",
    about="a recording of accelerometer and gyroscope",
    recipes=(Recipe("imu-v1", f"{_MEDIA}.imu", "resampled"),),
    sample=(_SAMPLES, "recording"),
    sample_params=MappingProxyType({"rate_hz": 50.0}),
    parameters=(Number("rate_hz", "rows a second", 0, 1e5, "Hz", open_low=True),),
    limits=("bytes", "table_bytes", "imu_rows", "elements"),
    mime=MappingProxyType({".csv": "text/csv"}),
    named=(".npy", ".json"),
)
TEXT = Entry(
    name="text",
    about="text as a modality: through the text tower into the shared space, not into the prompt",
    recipes=(Recipe("clip-bpe-v1", f"{_MEDIA}.text", "clip_bpe"),),
    sample=(_SAMPLES, "words"),
    limits=("bytes", "characters"),
    is_file=False,
)
POINTS = Entry(
    name="points",
    about="a 3D point cloud, or a mesh's vertices; colours, normals and faces are not read",
    recipes=(Recipe("points-8192-v1", f"{_MEDIA}.points", "unit_sphere"),),
    sample=(_SAMPLES, "cloud"),
    parameters=(
        Number("start", "the row, after resampling to 8,192, that the choice of group centres begins with", 0, 8191),
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
# No encoder's: for answers that name places in a picture.
TOOLS = (
    Recipe("picture-size-v1", f"{_MEDIA}.annotate", "size"),
    Recipe("annotated-picture-v1", f"{_MEDIA}.annotate", "annotated"),
)
