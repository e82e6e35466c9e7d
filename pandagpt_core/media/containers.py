"""Opens media containers with FFmpeg (PyAV): allowed formats only, and FFmpeg reads no bytes but those at hand.

The demuxer is chosen here from magic bytes and never probed, so playlists (HLS, concat, DASH) cannot be named .mp4 and
read files; nested opens are refused; codecs are on an allow-list; decoders run on one thread and refuse frames above
the pixel limit before allocating them.
"""

import io
from typing import TYPE_CHECKING, NoReturn

import av
from av.container import InputContainer

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.limits import Limits

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

VIDEO_CODECS = frozenset(
    {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg"}
    | {"mpeg1video", "mpeg2video", "prores", "theora", "h263", "flv1", "vp6f", "wmv1", "wmv2", "wmv3", "vc1"}
)
AUDIO_CODECS = frozenset(
    {
        "aac",
        "alac",
        "mp3",
        "opus",
        "vorbis",
        "flac",
        "amr_nb",
        "amr_wb",
        "speex",
        "mp2",
        "ac3",
        "eac3",
        "wmav1",
        "wmav2",
    }
    | {"gsm", "gsm_ms", "adpcm_ima_wav", "adpcm_ms", "adpcm_ima_qt", "nellymoser", "pcm_alaw", "pcm_mulaw"}
    | {f"pcm_{kind}" for kind in ("u8", "s8", "s16le", "s16be", "s24le", "s24be", "s32le", "s32be")}
    | {f"pcm_{kind}" for kind in ("f32le", "f32be", "f64le", "f64be")}
)
# Decoders whose names are not their codecs'.
_DECODERS = {"libdav1d", "libvpx", "libvpx-vp9", "mp3float", "mp2float", "libopus", "amrnb", "amrwb", "flv", "libspeex"}
_CODECS = ",".join(sorted(VIDEO_CODECS | AUDIO_CODECS | _DECODERS))
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
_MAX_STREAMS = 16
_PACKET, _M2TS_PACKET = 188, 192  # bytes of a transport stream's packet; Blu-ray's has a time in front
# First bytes -> demuxer, in order.
_BEGINNINGS = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"FLV\x01", "flv"),
    (b"#!AMR", "amr"),
    (b"caff", "caf"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
)
CONTAINERS = "MP4, MOV, 3GP, WebM, Matroska, AVI, MPEG-TS, MPEG-PS, WMV, FLV, OGV"


def sniff(data: bytes) -> str | None:
    """The demuxer for these bytes: "mov" (MP4, M4A, MOV, 3GP), "matroska" (WebM too), "avi", ..., or None."""
    if data[4:8] in _MP4_BOXES:
        return "mov"
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "avi"
    if data.startswith(b"OggS"):
        return "ogg" if b"\x80theora" in data[:512] else None  # a sound in Ogg is libsndfile's
    if _is_transport_stream(data):
        return "mpegts"
    return next((demuxer for beginning, demuxer in _BEGINNINGS if data.startswith(beginning)), None)


def _is_transport_stream(data: bytes) -> bool:
    return any(
        data[start : start + 3 * step + 1 : step] == b"G" * 4 for start, step in ((0, _PACKET), (4, _M2TS_PACKET))
    )


def open_container(data: bytes, demuxer: str, limits: Limits) -> InputContainer:
    """Open for reading; close it after use (it is a context manager). Call within `decoding`."""
    return av.open(
        io.BytesIO(data),
        mode="r",
        format=demuxer,
        options={
            "format_whitelist": av.ContainerFormat(demuxer, "r").name,
            "codec_whitelist": _CODECS,
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
    raise InvalidMedia(f"the file holds no video of a codec that is read here; it holds {_held(container)}")


def audio_stream(container: InputContainer) -> "AudioStream":
    """The first sound of an allowed codec."""
    for stream in container.streams.audio:
        if stream.codec_context.codec.canonical_name in AUDIO_CODECS:
            stream.codec_context.thread_count = 1
            return stream
    raise InvalidMedia(f"the file holds no sound of a codec that is read here; it holds {_held(container)}")


def _held(container: InputContainer) -> str:
    """The codecs of its streams, by FFmpeg's own names."""
    names = [stream.codec_context.codec.canonical_name for stream in container.streams if stream.codec_context]
    return ", ".join(names[:_MAX_STREAMS]) or "no stream"


def _max_pixels(limits: Limits) -> str:
    """Limit of a decoder's frame, with room for sides rounded up to whole blocks; `frames` checks the exact size."""
    return str(2 * limits.video_pixels + (1 << 16))


def _is_cover(stream: "VideoStream") -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _refuse(*_: object) -> NoReturn:
    raise PermissionError("a container may not open anything else")
