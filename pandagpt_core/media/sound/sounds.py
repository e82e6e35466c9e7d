"""Sound files as blocks of samples: format sniffed and allowed, read by counting, since headers may be wrong."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np
import soundfile

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.containers import audio_stream, open_container, sniff
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.signatures import what_came
from pandagpt_core.media.sound.mending import is_mpeg_frame, mended
from pandagpt_core.ndarrays import Float32Array

_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MPEG", "MP3", "AIFF", "AU", "CAF"})
_SUBTYPES = frozenset(
    {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS"}
    | {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "IMA_ADPCM", "MS_ADPCM", "GSM610"}
    | {"ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"}
)
TAKES = "WAV, FLAC, Ogg (Vorbis, Opus, Speex, FLAC), MP3, AAC, M4A, AMR, 3GP, AIFF, AU, CAF, W64, WebM or a video's"
_OGG_PAGE = re.compile(rb"OggS\x00([\x00-\x07])", re.DOTALL)  # capture pattern, version, flags
_BEGINS = 2  # flag of a logical stream's first page
MAX_LINKS = 256
_BLOCK_FRAMES = 16_384
_LOUDEST = 1e6  # times full scale: float formats may hold 1e38, whose squares and sums overflow


@dataclass(frozen=True, slots=True)
class Sound:
    """`blocks()` decodes from the start: float32 [n, channels] blocks in -1..1. Rate in Hz."""

    rate: int
    channels: int
    kind: str
    blocks: Callable[[], Iterator[Float32Array]]


def open_sound(data: bytes, limits: Limits) -> Sound:
    """Plain sound files by libsndfile; sounds in a video's container or coded for telephones by FFmpeg."""
    with decoding("sound"):
        sound = _opened(mended(data), limits)
    if not 1 <= sound.rate <= limits.sample_rate:
        raise InvalidMedia(f"the sound has {sound.rate} samples a second; the limit is {limits.sample_rate}")
    check(sound.channels, limits.channels, "the sound", "channels")
    return sound


def _opened(data: bytes, limits: Limits) -> Sound:
    if data.startswith(b"OggS") and len(chain := links(data)) > 1:
        return _chained([_opened(link, limits) for link in chain])
    demuxer = sniff(data) or ("aac" if _is_adts(data) else None)
    if data.startswith(b"OggS") and (b"Speex   " in data[:256] or b"\x7fFLAC" in data[:256]):
        demuxer = "ogg"
    if demuxer is not None and demuxer not in _SNDFILE_TOO:
        return _by_ffmpeg(data, demuxer, limits)
    if _is_sndfile(data):
        return _by_sndfile(data)
    raise InvalidMedia(f"the sound is none of {TAKES}; {what_came(data)}")


def _chained(chain: Sequence[Sound]) -> Sound:
    """Each link is decoded as a file by itself: libsndfile reads the first only, FFmpeg does not cut their ends."""
    first = chain[0]
    for number, link in enumerate(chain, 1):
        if (link.rate, link.channels) != (first.rate, first.channels):
            raise InvalidMedia(
                f"link {number} of the chained Ogg has {link.rate} samples a second and {link.channels} channels, the "
                f"first {first.rate} and {first.channels}; all must be alike"
            )
    return Sound(first.rate, first.channels, first.kind, lambda: (block for link in chain for block in link.blocks()))


def length(sound: Sound, limits: Limits) -> int:
    """Frames (samples a channel), counted by decoding once."""
    frames = 0
    with decoding("sound"):
        for block in sound.blocks():
            frames += len(block)
            check(frames * sound.channels, limits.samples, "the sound", "samples")
            check(frames / sound.rate, limits.seconds, "the sound", "seconds")
    return frames


def extract(sound: Sound, spans: Sequence[tuple[int, int]]) -> list[Float32Array]:
    """[end - start, channels] of each span of frames, zeros where a span leaves the sound. Decodes once more."""
    parts = [np.zeros((end - start, sound.channels), dtype=np.float32) for start, end in spans]
    position, last = 0, max(end for _, end in spans)
    with decoding("sound"):
        for block in sound.blocks():
            for (start, end), part in zip(spans, parts, strict=True):
                low, high = max(start, position), min(end, position + len(block))
                if low < high:
                    part[low - start : high - start] = block[low - position : high - position]
            position += len(block)
            if position >= last:
                break
    if not all(np.isfinite(part).all() for part in parts):
        raise InvalidMedia("the sound holds NaN or infinity")
    if max((float(np.abs(part).max(initial=0.0)) for part in parts), default=0.0) > _LOUDEST:
        raise InvalidMedia(f"the sound is louder than {_LOUDEST:.0f} times full scale")
    return parts


_SNDFILE_TOO = ("caf", "w64")  # formats that FFmpeg has a demuxer for and libsndfile reads


def _is_sndfile(data: bytes) -> bool:
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return True
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return True
    if data[:4] in (b"fLaC", b"OggS", b".snd", b"caff", b"riff") or data[:3] == b"ID3":
        return True
    return is_mpeg_frame(data)


def _is_adts(data: bytes) -> bool:
    """AAC by itself: twelve set bits and the layer that MPEG audio reserves."""
    return len(data) > 2 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


class _Bytes(io.BytesIO):
    """For libsndfile, which takes a position that a head lies about as it is: it stays where it was."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:  # before the beginning
            return self.tell()


def _by_sndfile(data: bytes) -> Sound:
    with soundfile.SoundFile(_Bytes(data)) as file:
        if file.format not in _FORMATS or file.subtype not in _SUBTYPES:
            takes = "PCM, float, A-law, mu-law, ADPCM, GSM, ALAC, Vorbis, Opus, MP3 are"
            raise InvalidMedia(f"the sound's encoding, {file.subtype}, is not supported; {takes}")
        rate, channels, kind = file.samplerate, file.channels, f"{file.format} {file.subtype}"

    def blocks() -> Iterator[Float32Array]:
        with soundfile.SoundFile(_Bytes(data)) as file:
            while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield block

    return Sound(rate, channels, kind, blocks)


def _by_ffmpeg(data: bytes, demuxer: str, limits: Limits) -> Sound:
    with open_container(data, demuxer, limits) as container:
        context = audio_stream(container).codec_context
        rate, channels, kind = context.sample_rate, context.channels, f"{demuxer} {context.codec.canonical_name}"

    def blocks() -> Iterator[Float32Array]:
        # To planar floats only; a rate or layout that changes midway is refused by the resampler.
        to_float = av.AudioResampler(format="fltp")
        with open_container(data, demuxer, limits) as container:
            for frame in container.decode(audio_stream(container)):
                for planar in to_float.resample(frame):
                    yield _interleaved(planar, rate, channels)
            for planar in to_float.resample(None):
                yield _interleaved(planar, rate, channels)

    return Sound(rate, channels, kind, blocks)


def _interleaved(frame: av.AudioFrame, rate: int, channels: int) -> Float32Array:
    block = frame.to_ndarray().T.astype(np.float32, copy=False)
    if frame.sample_rate != rate or block.shape[1] != channels:
        raise InvalidMedia("the sound's rate or channels are not what its header says")
    return block


def links(data: bytes) -> list[bytes]:
    """The streams of a chained Ogg (RFC 3533, section 4), each a file by itself; one where it is not chained.

    Radio stations write whole streams one after another in one file. A link begins with the first pages of its
    streams, before all other pages of it. Raises InvalidMedia for too many.
    """
    starts, begins_before = [], False
    for page in _OGG_PAGE.finditer(data):
        begins = bool(page[1][0] & _BEGINS)
        if begins and not begins_before:
            starts.append(page.start())
            check(len(starts), MAX_LINKS, "the chained Ogg", "links")
        begins_before = begins
    if len(starts) < 2:
        return [data]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
