"""Validation sets for sound, depth and heat: arrays as the service decodes them, with the concept of each.

Depth and heat are made up from the icons of a style never trained on: SYNTHETIC, and figures on them say so.
"""

import io
from pathlib import Path

import numpy as np
import soundfile

from pandagpt_core.media import Limits, load
from pandagpt_core.media.filterbank import RATE
from pandagpt_core.training.concepts import Concept
from pandagpt_core.training.data.media import icons
from pandagpt_core.training.data.recordings import real_recordings
from pandagpt_core.training.data.synthetic import RELIEFS, drawn_layers

Sets = tuple[list[np.ndarray], list[int]]
STYLE = "openmoji"
_AUDIO = "imagebind-audio-v1"
EACH, SEED = 12, 77
_MAP_SEED = 5


def unseen_bank_sounds(packages: Path, concepts: tuple[Concept, ...], thin: int = 1) -> Sets:
    """[3, 1, 128, 204] of sounds that a bank plays which shares no samples with those of the training."""
    # Needs the player of sound banks, which not every installation has.
    from pandagpt_core.training.data.sounds import unseen_bank

    rows = list(unseen_bank(packages, concepts, EACH, SEED))[::thin]
    return [load(_AUDIO, wav(wave), {}, Limits()) for _, wave in rows], [concept for concept, _ in rows]


def recorded_sounds(packages: Path, concepts: tuple[Concept, ...], thin: int = 1) -> Sets:
    """[3, 1, 128, 204] of real recordings."""
    rows = real_recordings(packages, concepts)[::thin]
    return [load(_AUDIO, data, {}, Limits()) for _, _, data in rows], [concept for _, concept, _ in rows]


def made_up_maps(kind: str, packages: Path, concepts: tuple[Concept, ...], thin: int = 1) -> Sets:
    """[1, 1, 224, 224] "depth" or "thermal" maps, one of each held-out icon."""
    maps, truth = [], []
    shown = [picture for picture in icons(packages, concepts, (STYLE,)) if picture.concept >= 0]
    for index, picture in enumerate(shown[::thin]):
        parts = drawn_layers(picture)
        if parts is not None:
            made = RELIEFS[kind](parts, concepts[picture.concept], np.random.default_rng((_MAP_SEED, index)), 0.0)
            maps.append(made[None])
            truth.append(picture.concept)
    return maps, truth


def wav(wave: np.ndarray) -> bytes:
    """A mono 16 kHz wave as a 16-bit .wav file."""
    out = io.BytesIO()
    soundfile.write(out, wave, RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()
