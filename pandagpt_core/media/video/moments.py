"""Frames of a video at moments of time, for constant and variable frame rates.

Where reaching the wanted frames from the key frames before them is beyond the limit of decoded pixels, the nearest key
frames are taken.
"""

import bisect
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import av
import numpy as np
import numpy.typing as npt

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media.containers import CONTAINERS, sniff
from pandagpt_core.media.guard import decoding
from pandagpt_core.media.limits import Limits, check
from pandagpt_core.media.pictures.animations import is_animation
from pandagpt_core.media.pictures.animations import pick_pictures as pick_animation
from pandagpt_core.media.signatures import what_came
from pandagpt_core.media.video.display import Display, as_displayed
from pandagpt_core.media.video.seeking import CLOSE, Survey, cost_of, decode, decoded_times, is_seekable, take_survey

T = TypeVar("T")
RGB = npt.NDArray[np.uint8]
_CHEAP_PIXELS = 2_000_000_000  # decoded to reach the wanted frames; beyond it key frames do


def pick(data: bytes, limits: Limits, count: int, keep: Callable[[RGB], T]) -> list[T]:
    """`keep` of the frames shown in the middles of `count` equal spans of time, as a viewer shows them."""
    if is_animation(data):
        return _animated(data, limits, count, keep)
    demuxer = sniff(data)
    if demuxer is None or demuxer in ("amr", "caf", "w64"):
        raise InvalidMedia(f"the video is none of {CONTAINERS}, GIF, WebP, APNG; {what_came(data)}")
    with decoding("video"):
        survey = take_survey(data, demuxer, limits)
        wanted = _wanted(survey, count, limits, seekable=is_seekable(demuxer))
        keep_shown = partial(_keep_shown, limits, keep)
        kept = decode(data, demuxer, limits, survey, wanted, keep_shown)
        if len(kept) < len(set(wanted)):  # times that the decoder does not confirm: by what comes out of it
            found = decoded_times(data, demuxer, limits)
            survey = Survey(found, [], [], found[-1] + (survey.end - survey.times[-1]), survey.area)
            wanted = _middles(survey, count)
            kept = decode(data, demuxer, limits, survey, wanted, keep_shown)
    notes.spans([(time, time) for time in wanted])
    return [kept[time] for time in wanted]


def middles(times: Sequence[float], end: float, count: int) -> list[float]:
    """Of the sorted times of frames those shown in the middles of `count` equal spans from the first to `end`."""
    start = times[0]
    aims = [start + (2 * index + 1) * (end - start) / (2 * count) for index in range(count)]
    return [times[max(bisect.bisect_right(times, aim + CLOSE) - 1, 0)] for aim in aims]


def _animated(data: bytes, limits: Limits, count: int, keep: Callable[[RGB], T]) -> list[T]:
    def choose(times: Sequence[float]) -> list[int]:
        """`times` of the frames' beginnings, and the end."""
        wanted = [times.index(time) for time in middles(times[:-1], times[-1], count)]
        notes.spans([(times[index], times[index + 1]) for index in wanted])
        return wanted

    return pick_animation(data, limits, choose, keep)


def _middles(survey: Survey, count: int) -> list[float]:
    return middles(survey.times, survey.end, count)


def _wanted(survey: Survey, count: int, limits: Limits, *, seekable: bool) -> list[float]:
    exact = _middles(survey, count)
    budget = min(limits.frame_pixels, _CHEAP_PIXELS)
    if not seekable or cost_of(survey, exact) * survey.area <= budget:
        return exact
    notes.warn("the video is long and its frames are large: the key frames nearest to the wanted moments are shown")
    return [min(survey.keys, key=lambda key: abs(key - time)) for time in exact]


def _keep_shown(limits: Limits, keep: Callable[[RGB], T], frame: av.VideoFrame, display: Display) -> T:
    check(frame.width * frame.height, limits.video_pixels, "a frame of the video", "pixels")
    rgb = as_displayed(frame, display)
    check(max(rgb.shape[:2]) / min(rgb.shape[:2]), limits.aspect, "the video", "as its ratio of sides")
    return keep(rgb)
