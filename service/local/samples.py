"""The media of a folder of samples, each with its modality by suffix, or by a name that says what its pixels are."""

from pathlib import Path

KINDS = {
    ".jpg": "image", ".jpeg": "image", ".png": "image", ".webp": "image",
    ".wav": "audio", ".flac": "audio", ".ogg": "audio", ".mp3": "audio",
    ".mp4": "video", ".webm": "video", ".csv": "imu",
}  # fmt: skip
NAMED = ("depth", "thermal", "imu")  # a picture or an array with this word in its name or its folder's is that
ARRAYS = (".npy", ".tif", ".tiff")


def found(folder: Path) -> list[tuple[str, Path]]:
    """All of them as (modality, path), by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return [(kind, path) for path in files if (kind := modality(path))]


def modality(path: Path) -> str | None:
    """What the file is, None for something else (a text, a table of licences)."""
    suffix = path.suffix.lower()
    named = next((word for word in NAMED if word in f"{path.stem} {path.parent.name}".lower()), None)
    if suffix in ARRAYS:
        return named
    return (named or KINDS[suffix]) if suffix in KINDS else None
