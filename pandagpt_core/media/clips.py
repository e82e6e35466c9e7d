"""Clips of a recording: evenly spaced spans of time, of sounds and of videos alike."""

from fractions import Fraction


def clip_spans(duration: float, clips: int, seconds: int) -> list[tuple[Fraction, Fraction]]:
    """Start and end of evenly spaced clips, exact; all start at 0 where the medium is shorter than a clip."""
    last_start = Fraction(max(duration - seconds, 0))
    return [(start, start + seconds) for start in (index * last_start / (clips - 1) for index in range(clips))]
