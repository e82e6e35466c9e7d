"""Sounds of the audible concepts from sound banks: instruments by General MIDI program, effects by GS variation.

Needs `tinysoundfont`, installed with --no-deps: what it depends on plays aloud, which nobody wants here.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import tinysoundfont

from pandagpt_core.media import Limits, load
from pandagpt_core.training.concepts import Concept, load_general_midi

RATE = 16_000
_SECONDS = 2.2
_DRUMS = 128
# Concept -> (bank, program) of the effects in the GS bank.
EFFECTS = {
    "rain": ((1, 122),),
    "thunderstorm": ((2, 122),),
    "wind": ((3, 122),),
    "dog": ((1, 123),),
    "horse": ((2, 123),),
    "bird": ((3, 123),),
    "telephone": ((1, 124),),
    "door": ((2, 124), (3, 124)),
    "car": ((1, 125), (2, 125), (3, 125)),
    "siren": ((5, 125),),
    "train": ((6, 125),),
    "airplane": ((7, 125),),
    "heart": ((4, 126),),
}


def audible(concepts: tuple[Concept, ...]) -> list[int]:
    """The concepts that the training banks can play."""
    named = {*load_general_midi(), *EFFECTS, "drum"}
    return [index for index, concept in enumerate(concepts) if concept.name in named]


def played(
    instruments: Path, effects: Path | None, concepts: tuple[Concept, ...], each: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """`each` clips of every concept a bank has: (concept, [1, 128, 204]), the first of the recipe's three clips."""
    programs = load_general_midi()
    for index, concept in enumerate(concepts):
        voices = [(instruments, 0, program) for program in programs.get(concept.name, ())]
        if concept.name == "drum":
            voices.append((instruments, _DRUMS, 0))
        if effects is not None:
            voices += [(effects, bank, program) for bank, program in EFFECTS.get(concept.name, ())]
        synths = [_voice(*voice) for voice in voices]
        for take in range(each if voices else 0):
            rng = np.random.default_rng((seed, index, take))
            at = int(rng.integers(len(voices)))
            wave = _play(synths[at], voices[at][1], voices[at][2], rng)
            if np.abs(wave).max() > 1e-4:
                yield index, log_mel(wave)


def log_mel(wave: np.ndarray) -> np.ndarray:
    """[1, 128, 204] as the recipe `imagebind-audio-v1` gives it, from samples at 16 kHz."""
    out = io.BytesIO()
    soundfile.write(out, wave, RATE, format="WAV", subtype="FLOAT")
    clips: np.ndarray = load("imagebind-audio-v1", out.getvalue(), {}, Limits())
    first: np.ndarray = clips[0]
    return first


def varied(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Louder or softer, begun elsewhere, some bands and frames lost."""
    found = np.roll(clip, int(rng.integers(-60, 61)), axis=2) + np.float32(rng.uniform(-0.35, 0.35))
    found = found + rng.normal(0, 0.05, found.shape).astype(np.float32)
    band, frame = int(rng.integers(0, 116)), int(rng.integers(0, 180))
    found[:, band : band + int(rng.integers(0, 12))] = found.min()
    found[:, :, frame : frame + int(rng.integers(0, 24))] = found.min()
    return found


def _voice(bank_file: Path, bank: int, program: int) -> tinysoundfont.Synth:
    synth = tinysoundfont.Synth(samplerate=RATE)
    synth.program_select(0, synth.sfload(str(bank_file)), bank, program, bank == _DRUMS)
    return synth


def _play(synth: tinysoundfont.Synth, bank: int, program: int, rng: np.random.Generator) -> np.ndarray:
    """Two seconds: an effect held, drums struck at random, an instrument playing notes or chords of a scale."""
    synth.sounds_off()
    effect = program >= 120
    pieces: list[np.ndarray] = []
    root, length = int(rng.integers(50, 72)), float(_SECONDS if effect else rng.choice([0.15, 0.25, 0.4, 0.7, 1.5]))
    while sum(map(len, pieces)) < _SECONDS * RATE:
        if effect:
            keys = [int(rng.integers(55, 66))]
        elif bank == _DRUMS:
            keys = [int(key) for key in rng.choice([35, 36, 38, 40, 41, 42, 43, 45, 46, 47, 48, 49, 51], 2)]
        else:
            keys = [root + int(step) for step in rng.choice([0, 2, 4, 5, 7, 9, 11, 12, 16], int(rng.choice([1, 1, 3])))]
        for key in keys:
            synth.noteon(0, key, int(rng.integers(70, 127)))
        count = int(length * RATE * rng.choice([0.5, 1, 1, 2]))
        stereo = np.frombuffer(synth.generate(max(count, 800)), dtype=np.float32)
        pieces.append(stereo.reshape(-1, 2).mean(axis=1))
        for key in keys:
            synth.noteoff(0, key)
    wave = np.concatenate(pieces)[: int(_SECONDS * RATE)]
    loud: np.ndarray = (wave / max(np.abs(wave).max(), 1e-6) * rng.uniform(0.2, 0.9)).astype(np.float32)
    return loud
