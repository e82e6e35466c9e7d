"""Pictures and films."""

from types import MappingProxyType

from pandagpt_core.modalities.builtin.writing import MEDIA, SAMPLES, one_line
from pandagpt_core.modalities.entry import Composition, Entry, Recipe

IMAGE = Entry(
    name="image",
    label="picture",
    formats=one_line("""
        JPEG (beyond the limit of pixels at a reduced size), PNG, WebP, GIF, BMP, TIFF, HEIC and
        HEIF, AVIF
    """),
    reads=one_line("""
        EXIF orientation; transparency (on white, on dark grey where white hides the drawing); the
        bits of deep grey by its largest value; the first frame of an animation that is not blank
    """),
    about="a picture",
    recipes=(
        Recipe(
            "imagebind-image-v1",
            f"{MEDIA}.pictures.image",
            "imagebind",
            "[1, 3, 224, 224]",
            "the published loader: EXIF orientation ignored, alpha dropped, 16-bit grey clipped at 255",
        ),
        Recipe(
            "eva-image-v1",
            f"{MEDIA}.pictures.image",
            "eva",
            "[1, 3, 448, 448]",
            "MiniGPT-v2: turned as EXIF says, alpha dropped as published, both sides resized",
            reading=2,
        ),
        Recipe(
            "lite0-image-v1",
            f"{MEDIA}.pictures.image",
            "lite0",
            "[1, 3, 224, 224] of Lite0",
            "as a viewer shows it",
            reading=2,
        ),
        Recipe(
            "lite0-detail-v1",
            f"{MEDIA}.pictures.image",
            "lite0_detail",
            "[1, 3, 320, 544] of Lite0",
            "as a viewer shows it: both sides resized to 320, and beside it the crop of 224",
        ),
        Recipe(
            "embedding-gemma2-image-v1",
            f"{MEDIA}.pictures.patches",
            "embedding_gemma2",
            "[1, 2520, 770]",
            "EmbeddingGemma 2: as a viewer shows it, in its own ratio of sides, as patches of 16 with their places",
        ),
    ),
    shown="lite0-detail-v1",
    sample=(SAMPLES, "picture"),
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
    formats=one_line("""
        MP4, MOV, 3GP, WebM, Matroska, AVI, MPEG-TS, MPEG-PS, WMV, FLV, OGV of H.264, HEVC, VP8,
        VP9, AV1, MPEG-1, -2 and -4, ProRes, MJPEG, Theora, H.263, Sorenson, VP6, WMV, VC-1; GIF,
        WebP, APNG
    """),
    reads=one_line("""
        display matrix, pixel aspect, colour range and matrix, transparency as of a picture, the time
        of every frame
    """),
    about="a film",
    recipes=(
        Recipe(
            "imagebind-video-v1",
            f"{MEDIA}.video.video",
            "imagebind",
            "[15, 3, 2, 224, 224]",
            "the published loader: five clips of 2 s by count of frames, three crops; display matrix ignored",
        ),
        Recipe(
            "languagebind-video-v1",
            f"{MEDIA}.video.video",
            "languagebind",
            "[1, 3, 8, 224, 224]",
            "LanguageBind: eight frames by count, the middle square; display matrix ignored",
        ),
        Recipe(
            "lite0-video-v1",
            f"{MEDIA}.video.video",
            "lite0",
            "[8, 3, 224, 224]",
            "as a viewer shows it: frames in the middles of eight equal spans of time",
            reading=3,
        ),
    ),
    shown="lite0-video-v1",
    sample=(SAMPLES, "film"),
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
