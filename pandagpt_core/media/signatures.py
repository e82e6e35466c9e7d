"""The kind of a file by its first bytes, for a refusal that names what came. Standard library only."""

import re
from collections.abc import Sequence

_HEAD = 1024  # bytes
_BRANDS = {
    b"heic": "a HEIF picture",
    b"mif1": "a HEIF picture",
    b"avif": "an AVIF picture",
    b"jxl ": "a JPEG XL picture",
}
# In the order of the tries. A pattern is matched at the start of the file.
_KINDS: Sequence[tuple[re.Pattern[bytes], str]] = [
    (re.compile(begins, re.DOTALL), kind)
    for begins, kind in (
        (rb"\x89PNG\r\n", "a PNG picture"),
        (rb"\xff\xd8\xff", "a JPEG picture"),
        (rb"GIF8", "a GIF picture"),
        (rb"BM.{8}.{4}[\x0c\x28\x6c\x7c]\0\0\0", "a BMP picture"),
        (rb"RIFF....WEBP", "a WebP picture"),
        (rb"RIFF....WAVE", "a WAV sound"),
        (rb"RIFF....AVI ", "an AVI film"),
        (rb"II\*\0|MM\0\*", "a TIFF picture"),
        (rb"8BPS", "a Photoshop picture"),
        (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL picture"),
        (rb"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
        (rb"fLaC", "a FLAC sound"),
        (rb"OggS", "an Ogg sound or film"),
        (rb"ID3|\xff[\xf2\xf3\xfb]", "an MP3 sound"),
        (rb"#!AMR", "an AMR sound"),
        (rb"....ftyp", "an MP4 or QuickTime film or sound"),
        (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM film or sound"),
        (rb"FLV", "an FLV film"),
        (rb"%PDF", "a PDF document"),
        (rb"ply\s", "a PLY point cloud"),
        (rb"glTF", "a glTF mesh"),
        (rb"LASF", "a LAS point cloud"),
        (rb"\x93NUMPY", "a NumPy array"),
        (rb"PAR1", "a Parquet table"),
        (rb"\x89HDF", "an HDF5 file"),
        (rb"MATLAB", "a MATLAB file"),
        (rb"PK\x03\x04", "a zip archive"),
        (rb"\x1f\x8b", "a gzip archive"),
        (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "an SVG drawing"),
        (rb"\s*<(!doctype\s+)?html", "an HTML page"),
        (rb"\s*<\?xml", "an XML file"),
        (rb"version https://git-lfs", "a git-lfs pointer; the file itself was not fetched"),
    )
]
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*\Z")


def kind_of(data: bytes) -> str | None:
    """The name of a well-known format; None where the first bytes are of none."""
    head = data[:_HEAD]
    if head[4:8] == b"ftyp" and (brand := _BRANDS.get(head[8:12])):
        return brand
    lower = head.lower()
    return next((kind for begins, kind in _KINDS if begins.match(head) or begins.match(lower)), None)


def what_came(data: bytes) -> str:
    """The end of a sentence of refusal: "the file is a PDF document"."""
    if not data:
        return "the file is empty"
    if kind := kind_of(data):
        return f"the file is {kind}"
    if _TEXT.match(data[:_HEAD]):
        return "the file is text"
    return "its first bytes are those of no format known here"
