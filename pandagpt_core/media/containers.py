"""Opening media containers with FFmpeg (PyAV): what is allowed in, and nothing reached but the bytes at hand.

The demuxer is chosen here from magic bytes and never probed, so playlists (HLS, concat, DASH) cannot be named .mp4 and
read files; nested opens are refused; codecs are on an allow-list; decoders run on one thread and refuse frames above
the pixel limit before allocating them.
"""

import io
from typing import TYPE_CHECKING, NoReturn

import av
from av.container import InputContainer

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

VIDEO_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg"})
AUDIO_CODECS = frozenset({"aac", "alac", "mp3", "opus", "vorbis", "flac"})
_DECODERS = VIDEO_CODECS | AUDIO_CODECS | {"libdav1d", "libvpx", "libvpx-vp9", "mp3float", "libopus"}
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
_MAX_STREAMS = 16


def sniff(data: bytes) -> str | None:
    """The demuxer for these bytes: "mov" (MP4, M4A, MOV, 3GP), "matroska" (WebM too), "avi", or None."""
    if data[4:8] in _MP4_BOXES:
        return "mov"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "avi"
    return None


def open_container(data: bytes, demuxer: str, limits: Limits) -> InputContainer:
    """Open for reading; close it after use (it is a context manager). Call within `decoding`."""
    return av.open(
        io.BytesIO(data),
        mode="r",
        format=demuxer,
        options={
            "format_whitelist": av.ContainerFormat(demuxer, "r").name,
            "codec_whitelist": ",".join(sorted(_DECODERS)),
            "protocol_whitelist": "none",
            "max_streams": str(_MAX_STREAMS),
            "max_pixels": _max_pixels(limits),
            "threads": "1",
        },
        io_open=_refuse,
    )


def video_stream(container: InputContainer, limits: Limits) -> "VideoStream":
    """The first moving picture of an allowed codec, its decoder bounded."""
    for stream in container.streams.video:
        if not _is_cover(stream) and stream.codec_context.codec.canonical_name in VIDEO_CODECS:
            stream.codec_context.options = {"max_pixels": _max_pixels(limits)}
            stream.codec_context.thread_count = 1
            return stream
    raise InvalidMedia(f"the file holds no video of {', '.join(sorted(VIDEO_CODECS))}")


def audio_stream(container: InputContainer) -> "AudioStream":
    """The first sound of an allowed codec."""
    for stream in container.streams.audio:
        if stream.codec_context.codec.canonical_name in AUDIO_CODECS:
            stream.codec_context.thread_count = 1
            return stream
    raise InvalidMedia(f"the file holds no sound of {', '.join(sorted(AUDIO_CODECS))}")


def ffmpeg_versions() -> dict[str, tuple[int, int, int]]:
    """Versions of the FFmpeg libraries inside PyAV, for a check against known holes."""
    with decoding("list of library versions"):
        return {name: (major, minor, micro) for name, (major, minor, micro) in av.library_versions.items()}


def _max_pixels(limits: Limits) -> str:
    """What a decoder may allocate: with room for sides rounded up to whole blocks; `frames` checks the exact size."""
    return str(2 * limits.video_pixels + (1 << 16))


def _is_cover(stream: "VideoStream") -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _refuse(*_: object) -> NoReturn:
    raise PermissionError("a container may not open anything else")
