"""Limits of the size of a decoded medium. Defaults suit one decode child of about a gigabyte."""

from dataclasses import dataclass

from pandagpt_core.errors import InvalidMedia


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, all inclusive. They are checked against what is decoded, never trusted from a header alone.

    bytes: size of the medium as sent. table_bytes: the same for CSV and JSON, which grow when parsed.
    pixels: width x height of a picture. aspect: its longer side over its shorter one.
    video_pixels: width x height of a video frame; a decoder may hold 17 of them.
    frames, frame_pixels: frames of a video, and width x height x decoded frames, which is what decoding costs.
    seconds: duration of a video or sound. samples: frames x channels of a sound. channels, sample_rate: of a sound.
    imu_rows: rows of an IMU recording. points: of a point cloud. elements: numbers in a .npy array. characters: of a
    text.
    """

    bytes: int = 64 << 20
    table_bytes: int = 8 << 20
    pixels: int = 40_000_000
    video_pixels: int = 9_000_000
    aspect: int = 200
    frames: int = 18_000
    frame_pixels: int = 8_000_000_000
    seconds: float = 600.0
    samples: int = 60_000_000
    channels: int = 8
    sample_rate: int = 384_000
    imu_rows: int = 100_000
    points: int = 2_000_000
    elements: int = 16_000_000
    characters: int = 16_384


def check(value: float, limit: float, what: str, unit: str = "") -> None:
    """Refuse `value` above `limit`, naming both. `what` starts the sentence, as in "the picture"."""
    if not value <= limit:
        suffix = f" {unit}" if unit else ""
        raise InvalidMedia(f"{what} has {_number(value)}{suffix}; the limit is {_number(limit)}")


def _number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"
