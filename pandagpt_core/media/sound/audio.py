"""Sounds to log-mel pictures [3, 1, 128, 204]: three clips of two seconds, as ImageBind's loader makes them."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.media import notes
from pandagpt_core.media import params as p
from pandagpt_core.media.clips import clip_spans
from pandagpt_core.media.limits import Limits
from pandagpt_core.media.sound.channels import mixing
from pandagpt_core.media.sound.filterbank import MEL_BINS, RATE, filter_bank
from pandagpt_core.media.sound.loudness import CLIP_SECONDS, CLIPS, SILENT, chosen_starts, even_starts, survey
from pandagpt_core.media.sound.resample import Resampler
from pandagpt_core.media.sound.sounds import Sound, extract, length, open_sound
from pandagpt_core.modalities.builtin.sound import AUDIO, CLIP_CHOICE
from pandagpt_core.ndarrays import Float32Array

FRAMES = 204
LEAST_MS = 25
MEAN, STD = -4.268, 9.138

SampleRange = tuple[int, int]


def imagebind(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """Resampled to 16 kHz, clips evenly spaced, mean taken off, Kaldi filter bank of channel 0, normalised.

    Kept from the loader that the published checkpoints were trained with: only the first channel reaches the filter
    bank though the mean is over all, and where clips overlap (under 6 s) a later one starts from samples whose mean an
    earlier one already took. Padding to 204 frames comes before the normalisation.
    """
    p.only(params)
    sound = open_sound(data, limits)
    resampler = Resampler(sound.rate, RATE)
    samples = _enough(resampler.output_length(length(sound, limits)))
    notes.spans([(start / RATE, end / RATE) for start, end in clip_ranges(samples)])
    clips = _clips(sound, resampler, samples)
    if max(float(np.abs(clip).max()) for clip in clips) <= SILENT:
        alone = "first channel, which alone is read here," if sound.channels > 1 else "sound"
        notes.warn(f"The {alone} is silent.")
    return np.stack([_picture(clip)[None] for clip in clips])


def mixed(data: bytes, params: p.Params, limits: Limits) -> Float32Array:
    """The same picture of all channels (`channels`), each clip's mean taken off by itself.

    Up to six seconds the clips cover the sound. Of a longer one they lie evenly where each holds sound, else where it
    is loudest; `clips` "even" keeps them even.
    """
    p.of_entry(params, AUDIO)
    even = CLIP_CHOICE.name in params and p.choice(params, CLIP_CHOICE) == "even"
    sound = open_sound(data, limits)
    resampler = Resampler(sound.rate, RATE)
    levels = survey(sound, limits)
    samples = _enough(resampler.output_length(levels.frames))
    seconds = levels.frames / sound.rate
    starts = even_starts(seconds) if even else chosen_starts(levels, seconds)
    ranges = [(math.floor(start * RATE), min(math.floor((start + CLIP_SECONDS) * RATE), samples)) for start in starts]
    share = mixing(levels.channels, levels.mixed)
    notes.fact("type", f"{sound.kind}, {sound.channels} channels, {sound.rate} Hz, {seconds:.2f} s")
    notes.spans([(start / RATE, end / RATE) for start, end in ranges])
    if levels.peak <= SILENT:
        notes.empty("The sound is silent.")
    parts = extract(sound, [resampler.support(*one) for one in ranges])
    waves = [share @ resampler.run(part, *one) for part, one in zip(parts, ranges, strict=True)]
    return np.stack([_picture(wave - wave.mean())[None] for wave in waves])


def _enough(samples: int) -> int:
    if samples * 1000 < LEAST_MS * RATE:
        raise InvalidMedia(f"the sound lasts {samples * 1000 / RATE:.1f} ms; at least {LEAST_MS} ms are needed")
    return samples


def clip_ranges(samples: int) -> list[SampleRange]:
    """First and last-but-one sample of each clip at 16 kHz."""
    spans = clip_spans(samples / RATE, CLIPS, CLIP_SECONDS)
    return [(_sample(start), min(_sample(end), samples)) for start, end in spans]


def _sample(at: Fraction) -> int:
    return math.floor(at * RATE)


def _clips(sound: Sound, resampler: Resampler, samples: int) -> list[Float32Array]:
    """Channel 0 of each clip with the mean over all channels taken off, in order, in place."""
    ranges = clip_ranges(samples)
    stretches = merged(ranges)
    parts = extract(sound, [resampler.support(*stretch) for stretch in stretches])
    waves = {
        stretch: resampler.run(part, *stretch) for stretch, part in zip(stretches, parts, strict=True)
    }  # [channels, samples]
    clips = []
    for start, end in ranges:
        stretch = next((low, high) for low, high in stretches if low <= start and end <= high)
        clip = waves[stretch][:, start - stretch[0] : end - stretch[0]]
        clip -= clip.mean()  # in place on the shared stretch: see `imagebind`
        clips.append(clip[0].copy())
    return clips


def merged(ranges: Sequence[SampleRange]) -> list[SampleRange]:
    """Ordered ranges joined where they overlap, so that long sounds are only resampled where a clip lies."""
    joined: list[SampleRange] = []
    for start, end in ranges:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _picture(wave: Float32Array) -> Float32Array:
    """[128, 204] normalised log-mel energies of one clip."""
    mel = filter_bank(wave)[:FRAMES]
    padded = np.zeros((MEL_BINS, FRAMES), dtype=np.float32)
    padded[:, : len(mel)] = mel.T
    return (padded - np.float32(MEAN)) / np.float32(STD)
