"""Frames of a video by their times, without decoding what lies between: the decoder is set to the key frame before.

The packets give every frame's time.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import av
from av.container import InputContainer

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.containers import open_container, video_stream
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.video.display import Display, display_of

if TYPE_CHECKING:
    from av.video.stream import VideoStream

T = TypeVar("T")
Keep = Callable[[av.VideoFrame, Display], T]
# The first demuxers find key frames by their times, as the container's index has them. The others find packets by their
# place in the file; ASF's gives the frame after it first. A programme stream is read in order: after a seek its times
# are off by a frame.
_BY_TIME = ("mov", "matroska", "avi", "flv")
_BY_PLACE = {"mpegts": 0, "asf": 1}  # demuxer -> key frames to go back
CLOSE = 1e-4  # seconds within which two times are one


@dataclass(frozen=True, slots=True)
class Survey:
    """Times of all frames and of the key frames in seconds, sorted; `end` is the last frame's end.

    `places` are the key frames' bytes in the file.
    """

    times: Sequence[float]
    keys: Sequence[float]
    places: Sequence[int | None]
    end: float
    area: int


def is_seekable(demuxer: str) -> bool:
    return demuxer in _BY_TIME or demuxer in _BY_PLACE


def cost_of(survey: Survey, wanted: Sequence[float]) -> int:
    """Frames that are decoded when each wanted one is reached from the key frame before it."""
    cost, position = 0, -1
    for time in sorted(set(wanted)):
        at = bisect.bisect_left(survey.times, time - CLOSE)
        key = bisect.bisect_right(survey.keys, time + CLOSE) - 1
        start = bisect.bisect_left(survey.times, survey.keys[key] - CLOSE) if key >= 0 else 0
        cost += at - max(start, position + 1) + 1
        position = at
    return cost


@contextmanager
def measured_stream(data: bytes, demuxer: str, limits: Limits) -> Iterator[tuple[InputContainer, "VideoStream", int]]:
    """The open file, its stream of pictures, and the pixels of a frame as its header has them, within the limits."""
    with open_container(data, demuxer, limits) as container:
        stream = video_stream(container, limits)
        area = stream.codec_context.width * stream.codec_context.height
        if area == 0:  # FFmpeg forgets a size that it refused
            raise InvalidMedia(f"the video has no frame of at most {limits.video_pixels} pixels")
        check(area, limits.video_pixels, "a frame of the video", "pixels")
        yield container, stream, area


def take_survey(data: bytes, demuxer: str, limits: Limits) -> Survey:
    with measured_stream(data, demuxer, limits) as (container, stream, area):
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        base = float(stream.time_base or 0)
        found: list[tuple[float, bool, int | None]] = []
        length, known = 1 / max(rate, 0.01), True
        for packet in container.demux(stream):
            if packet.size:
                known = known and packet.pts is not None
                time = packet.pts * base if packet.pts is not None else len(found) / rate
                found.append((time, packet.is_keyframe, packet.pos))
                length = packet.duration * base if packet.duration else length
                check(len(found), limits.frames, "the video", "frames")
        described = f"{stream.codec_context.name}, {stream.codec_context.width} x {stream.codec_context.height}"
        notes.fact("type", f"{demuxer}, {described}")
    if not found:
        raise InvalidMedia("the video has no frame")
    if not known:
        found = [(index / rate, key, place) for index, (_, key, place) in enumerate(found)]
    times = sorted({time for time, *_ in found})
    check(times[-1] - times[0], limits.seconds, "the video", "seconds")
    notes.fact("frames", f"{len(times)} in {times[-1] - times[0] + length:.2f} s")
    keys = _reachable([(time, place) for time, key, place in found if key], demuxer)
    return Survey(times, [time for time, _ in keys], [place for _, place in keys], times[-1] + length, area)


def _reachable(keys: list[tuple[float, int | None]], demuxer: str) -> list[tuple[float, int | None]]:
    """Of key frames in the file's order those that the demuxer can be set to, by time; of one place the first."""
    if demuxer in _BY_PLACE:
        first: dict[int, float] = {}
        for time, place in keys:
            if place is not None and place >= 0:
                first.setdefault(place, time)
        return sorted((time, place) for place, time in first.items())
    return sorted(keys, key=lambda one: one[0])


def _frames(container: InputContainer, limits: Limits) -> Iterator[av.VideoFrame]:
    """Decoded frames, within the limits of what decoding costs."""
    frames = pixels = 0
    for frame in container.decode(video_stream(container, limits)):
        frames, pixels = frames + 1, pixels + frame.width * frame.height
        check(frames, limits.frames, "the video", "frames to decode")
        check(pixels, limits.frame_pixels, "the video", "pixels over the frames to decode")
        yield frame


def decoded_times(data: bytes, demuxer: str, limits: Limits) -> list[float]:
    """The times of all frames that can be decoded."""
    times: list[float] = []
    with open_container(data, demuxer, limits) as container:
        for frame in _frames(container, limits):
            times.append(_time(frame, times))
    if not times:
        raise InvalidMedia("the video has no frame that can be decoded")
    return sorted(set(times))


def _time(frame: av.VideoFrame, before: Sequence[float]) -> float:
    if frame.pts is None:
        return before[-1] + 0.04 if before else 0.0
    return float(frame.time)


def decode(
    data: bytes, demuxer: str, limits: Limits, survey: Survey, wanted: Sequence[float], keep: Keep[T]
) -> dict[float, T]:
    """The kept frames, by the wanted time. Raises InvalidMedia where more would be decoded than the limits allow."""
    kept: dict[float, T] = {}
    left = sorted(set(wanted))
    decoded = 0
    with open_container(data, demuxer, limits) as container:
        stream = video_stream(container, limits)
        display = display_of(stream)
        position = float("-inf")
        # One iterator until a seek: at the file's end the decoder gives the frames that it held back only once.
        frames = container.decode(stream)
        while left:
            if _worth_a_seek(survey.keys, position, left[0], _BY_PLACE.get(demuxer, 0)) and _seek(
                container, stream, demuxer, survey, left[0]
            ):
                frames = container.decode(stream)
            before = len(left)
            times: list[float] = []
            for frame in frames:
                decoded += 1
                check(decoded, limits.frames, "the video", "frames to decode")
                check(decoded * survey.area, limits.frame_pixels, "the video", "pixels over the frames to decode")
                position = _time(frame, times)
                times.append(position)
                if position >= left[0] - CLOSE:
                    if position <= left[0] + CLOSE:
                        kept[left[0]] = keep(frame, display)
                    left.pop(0)
                    break
            if len(left) == before:  # the stream ended
                break
    return kept


def _seek(container: InputContainer, stream: "VideoStream", demuxer: str, survey: Survey, aim: float) -> bool:
    """Set the demuxer to the key frame before `aim`; false where its container cannot be set."""
    if demuxer in _BY_TIME:
        container.seek(int(aim / float(stream.time_base or 1) + 0.5), stream=stream)
        return True
    key = bisect.bisect_right(survey.keys, aim + CLOSE) - 1 - _BY_PLACE.get(demuxer, 0)
    place = survey.places[key] if demuxer in _BY_PLACE and key >= 0 else None
    if place is None:
        return False
    container.seek(place, unsupported_byte_offset=True, stream=stream)
    return True


def _worth_a_seek(keys: Sequence[float], position: float, aim: float, back: int) -> bool:
    """Whether a key frame lies between what was decoded last and the wanted frame, `back` more than one."""
    at = bisect.bisect_right(keys, aim + CLOSE) - 1 - back
    return at >= 0 and keys[at] > position + CLOSE and (at > 0 or position > float("-inf"))
