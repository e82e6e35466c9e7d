"""Chosen frames of a video by their number: counted by demuxing, decoded in order, only the chosen ones kept.

Where all in order are beyond the limit of decoded pixels, each chosen one is reached from the key frame before it: the
same frames, of which fewer others are decoded.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import av
import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.containers import CONTAINERS, open_container, sniff, video_stream
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.pictures.animations import is_animation
from pandagpt_core.media.pictures.animations import pick_pictures as pick_animation
from pandagpt_core.media.signatures import what_came
from pandagpt_core.media.video.display import Display, is_transformed
from pandagpt_core.media.video.seeking import Survey, decode, is_seekable, measured_stream, take_survey

T = TypeVar("T")
RGB = npt.NDArray[np.uint8]
Choose = Callable[[int, float], Sequence[int]]

_MAX_RATE = 1000.0


@dataclass(frozen=True, slots=True)
class _Extent:
    """`rate`: frames a second, on average. `pixels`: over all frames. `all_shown`: no edit list drops one of them."""

    frames: int
    rate: float
    pixels: int
    all_shown: bool


def pick(data: bytes, limits: Limits, choose: Choose, keep: Callable[[RGB], T]) -> list[T]:
    """`keep` of each frame that `choose(frame count, frames per second)` names, as [H, W, 3] RGB, in that order.

    A file whose packets are not all frames, or that ends early, is measured anew by the frames that came out.
    """
    if is_animation(data):
        return pick_animation(
            data, limits, lambda times: list(choose(len(times) - 1, (len(times) - 1) / times[-1])), keep
        )
    demuxer = sniff(data)
    if demuxer is None:
        raise InvalidMedia(f"the video is none of {CONTAINERS}; {what_came(data)}")
    with decoding("video"):
        extent = _survey(data, demuxer, limits)
        wanted = choose(extent.frames, extent.rate)
        if extent.pixels > limits.frame_pixels:
            return _sought(data, demuxer, limits, extent, wanted, keep)
        kept, decoded = _decode(data, demuxer, limits, set(wanted), keep)
        if decoded == 0:
            raise InvalidMedia("the video has no frame that can be decoded")
        if len(kept) < len(set(wanted)):
            wanted = choose(decoded, extent.rate)
            kept, _ = _decode(data, demuxer, limits, set(wanted), keep)
        return [kept[index] for index in wanted]


def _sought(
    data: bytes, demuxer: str, limits: Limits, extent: _Extent, wanted: Sequence[int], keep: Callable[[RGB], T]
) -> list[T]:
    """As `pick`, by the frames' times. Frames that they cannot number are too much to read in order, and refused."""
    survey = take_survey(data, demuxer, limits)
    moments = [survey.times[index] for index in wanted] if _is_numbered(survey, demuxer, extent) else []
    kept = decode(data, demuxer, limits, survey, moments, partial(_keep_stored, limits, keep))
    if not moments or len(kept) < len(set(moments)):
        check(extent.pixels, limits.frame_pixels, "the video", "pixels over all frames")
    return [kept[moment] for moment in moments]


def _is_numbered(survey: Survey, demuxer: str, extent: _Extent) -> bool:
    """Whether the n-th of the times is the n-th decoded frame's: each packet has one of its own, a key frame first."""
    one_each = extent.all_shown and len(survey.times) == extent.frames
    return is_seekable(demuxer) and one_each and survey.keys[:1] == survey.times[:1]


def _keep_stored(limits: Limits, keep: Callable[[RGB], T], frame: av.VideoFrame, _: Display | None = None) -> T:
    check(frame.width * frame.height, limits.video_pixels, "a frame of the video", "pixels")
    if is_transformed(frame):
        notes.warn("The film is read as it is stored, as the published checkpoint did, and not turned.")
    return keep(_rgb(frame))


def _survey(data: bytes, demuxer: str, limits: Limits) -> _Extent:
    """By counting packets and not by the header."""
    with measured_stream(data, demuxer, limits) as (container, stream, area):
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        if not 0.0 < rate <= _MAX_RATE:
            raise InvalidMedia(f"the video's frame rate is {rate:g}; it must be above 0 and at most {_MAX_RATE:g}")
        count, all_shown = 0, True
        for packet in container.demux(stream):
            count += packet.size > 0
            all_shown = all_shown and not packet.is_discard
            _check_extent(count, rate, 0, limits)
    return _Extent(count, rate, count * area, all_shown)


def _decode(
    data: bytes, demuxer: str, limits: Limits, wanted: Collection[int], keep: Callable[[RGB], T]
) -> tuple[dict[int, T], int]:
    """The kept frames by index, and the number of decoded frames; stops after the last wanted one."""
    kept: dict[int, T] = {}
    count = pixels = 0
    with open_container(data, demuxer, limits) as container:
        for frame in container.decode(video_stream(container, limits)):
            pixels += frame.width * frame.height
            _check_extent(count + 1, _MAX_RATE, pixels, limits)
            if count in wanted:
                kept[count] = _keep_stored(limits, keep, frame)
            count += 1
            if len(kept) == len(wanted):
                break
    return kept, count


def _rgb(frame: av.VideoFrame) -> RGB:
    return frame.reformat(format="rgb24", threads=1).to_ndarray().astype(np.uint8, copy=False)


def _check_extent(frames: int, rate: float, pixels: int, limits: Limits) -> None:
    check(frames, limits.frames, "the video", "frames")
    check(frames / rate, limits.seconds, "the video", "seconds")
    check(pixels, limits.frame_pixels, "the video", "pixels over all frames")
