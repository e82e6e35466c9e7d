"""Media on their way in: allowed addresses, sizes, and the processes that decode."""

import ipaddress
import re
from typing import Self

from pydantic import Field, model_validator

from service.settings.section import MIB, Count, CountOrNone, Seconds, Section, WordList

_HOST_ENTRY = re.compile(r"\*|((\*\.)?[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?")


class FetchSettings(Section):
    """Fetching media from URLs in requests; off unless hosts are named."""

    hosts: WordList = Field(
        default=(),
        description="hosts that media may be fetched from, by comma: host, host:port, *.domain (what lies below it) or "
        "* (any with a public address); none: fetching is off",
    )
    private_ranges: WordList = Field(
        default=(),
        description="address ranges in CIDR form, by comma, that may be fetched from in addition to public addresses, "
        "such as those of a private object store: 10.1.2.0/24, fd00:1::/64",
    )
    timeout_s: Seconds = Field(default=10.0, description="limit of all downloads of one request (seconds)")
    max_bytes: Count = Field(default=64 * MIB, description="largest download (bytes)")
    max_redirects: CountOrNone = Field(default=3, description="redirects followed, each checked anew (redirects)")
    max_concurrent: Count = Field(default=16, description="downloads of one gateway at once (downloads)")

    @model_validator(mode="after")
    def _names_hosts_only(self) -> Self:
        for entry in self.hosts:
            if not _HOST_ENTRY.fullmatch(entry):
                raise ValueError(f"hosts: {entry} is none of host, host:port, *.domain, *, in lower case")
        return self

    @model_validator(mode="after")
    def _ranges_are_networks(self) -> Self:
        for entry in self.private_ranges:
            try:
                ipaddress.ip_network(entry)
            except ValueError as error:
                raise ValueError(f"private_ranges: {entry} is no range in CIDR form: {error}") from None
        return self


class MediaLimits(Section):
    """Limits of a medium's size when it is decoded. The names are the same as in `pandagpt_core.media.Limits`."""

    bytes: Count = Field(default=64 * MIB, description="size of a medium as sent (bytes)")
    table_bytes: Count = Field(default=8 * MIB, description="the same for CSV and JSON, which grow when parsed (bytes)")
    pixels: Count = Field(default=40_000_000, description="width times height of a picture (pixels)")
    aspect: Count = Field(default=200, description="longer over shorter side of a picture (ratio)")
    frames: Count = Field(default=18_000, description="frames of a video (frames)")
    video_pixels: Count = Field(default=9_000_000, description="width times height of a video frame (pixels)")
    frame_pixels: Count = Field(
        default=8_000_000_000, description="width times height of a video, times the frames that are decoded (pixels)"
    )
    seconds: Seconds = Field(default=600.0, description="length of audio or video (seconds)")
    samples: Count = Field(default=60_000_000, description="samples of a sound, all channels (samples)")
    channels: Count = Field(default=8, description="channels of a sound (channels)")
    sample_rate: Count = Field(default=384_000, description="sample rate of a sound (hertz)")
    imu_rows: Count = Field(default=100_000, description="rows of an IMU recording (rows)")
    elements: Count = Field(default=16_000_000, description="numbers in an .npy array (numbers)")
    points: Count = Field(default=2_000_000, description="points of a point cloud (points)")
    characters: Count = Field(default=16_384, description="length of a context text (characters)")


class DecodeSettings(Section):
    """The confined children that turn bytes into arrays; as many others read Parquet, MATLAB and HDF5."""

    processes: Count = Field(default=2, description="children that decode at once (processes)")
    max_waiting: Count = Field(default=64, description="media that may wait for a child; above it 503 (media)")
    memory_bytes: Count = Field(default=1536 * MIB, description="address space of a child (bytes)")
    cpu_s: Seconds = Field(default=30.0, description="processor time for one medium (seconds)")
    wall_s: Seconds = Field(default=60.0, description="time for one medium (seconds)")
    recycle: Count = Field(default=200, description="media after which a child is replaced (media)")
