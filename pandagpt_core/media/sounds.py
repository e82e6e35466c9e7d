"""Sound files as blocks of samples: format sniffed and allowed, read by counting, whatever the header promises."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
import soundfile

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media.containers import audio_stream, open_container, sniff
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check

Block = npt.NDArray[np.float32]

_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MPEG", "MP3"})
_SUBTYPES = frozenset(
    {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS"}
    | {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
)
_BLOCK_FRAMES = 16_384
_LOUDEST = 1e6  # times full scale: float formats may hold 1e38, whose squares and sums overflow


@dataclass(frozen=True, slots=True)
class Sound:
    """`blocks()` decodes from the start: float32 [n, channels] blocks in -1..1. Rate in Hz."""

    rate: int
    channels: int
    blocks: Callable[[], Iterator[Block]]


def open_sound(data: bytes, limits: Limits) -> Sound:
    """WAV, FLAC, Ogg (Vorbis, Opus) and MP3 by libsndfile; M4A and WebM by FFmpeg."""
    demuxer = sniff(data)
    with decoding("sound"):
        if demuxer in ("mov", "matroska"):
            sound = _by_ffmpeg(data, demuxer, limits)
        elif _is_sndfile(data):
            sound = _by_sndfile(data)
        else:
            raise InvalidMedia("the sound is none of WAV, FLAC, Ogg, MP3, M4A, WebM")
    if not 1 <= sound.rate <= limits.sample_rate:
        raise InvalidMedia(f"the sound has {sound.rate} samples a second; the limit is {limits.sample_rate}")
    check(sound.channels, limits.channels, "the sound", "channels")
    return sound


def length(sound: Sound, limits: Limits) -> int:
    """Frames (samples a channel), counted by decoding once."""
    frames = 0
    with decoding("sound"):
        for block in sound.blocks():
            frames += len(block)
            check(frames * sound.channels, limits.samples, "the sound", "samples")
            check(frames / sound.rate, limits.seconds, "the sound", "seconds")
    return frames


def extract(sound: Sound, spans: Sequence[tuple[int, int]]) -> list[Block]:
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


def _is_sndfile(data: bytes) -> bool:
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return True
    if data[:4] in (b"fLaC", b"OggS") or data[:3] == b"ID3":
        return True
    # An MPEG audio frame: eleven set bits, and a layer that is not the reserved one (which AAC streams use).
    return len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0


def _by_sndfile(data: bytes) -> Sound:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        if file.format not in _FORMATS or file.subtype not in _SUBTYPES:
            raise InvalidMedia(
                "the sound's encoding is not supported; PCM, float, A-law, mu-law, Vorbis, Opus, MP3 are"
            )
        rate, channels = file.samplerate, file.channels

    def blocks() -> Iterator[Block]:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield block

    return Sound(rate, channels, blocks)


def _by_ffmpeg(data: bytes, demuxer: str, limits: Limits) -> Sound:
    with open_container(data, demuxer, limits) as container:
        context = audio_stream(container).codec_context
        rate, channels = context.sample_rate, context.channels

    def blocks() -> Iterator[Block]:
        # To planar floats only; a rate or layout that changes midway is refused by the resampler.
        to_float = av.AudioResampler(format="fltp")
        with open_container(data, demuxer, limits) as container:
            for frame in container.decode(audio_stream(container)):
                for planar in to_float.resample(frame):
                    yield _interleaved(planar, rate, channels)
            for planar in to_float.resample(None):
                yield _interleaved(planar, rate, channels)

    return Sound(rate, channels, blocks)


def _interleaved(frame: av.AudioFrame, rate: int, channels: int) -> Block:
    block = frame.to_ndarray().T.astype(np.float32, copy=False)
    if frame.sample_rate != rate or block.shape[1] != channels:
        raise InvalidMedia("the sound's rate or channels are not what its header says")
    return block
