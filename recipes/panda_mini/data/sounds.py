"""Sounds of the audible concepts: sound banks (General MIDI programs, GS effects), CC0 recordings, our own foley.

Needs `tinysoundfont`, installed with --no-deps: its dependencies play aloud, which nobody wants here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import tinysoundfont

from pandagpt_core.media.sound.filterbank import RATE
from recipes.panda_mini.concepts import Concept, load_general_midi
from recipes.panda_mini.data.acoustics import picture, varied_wave
from recipes.panda_mini.data.foley import MAKERS

_SECONDS = 2.2
_DRUMS = 128
_FIRST_EFFECT = 120
_DRUM_KEYS = (35, 36, 38, 40, 41, 42, 43, 45, 46, 47, 48, 49, 51)
_STEPS = (0, 2, 4, 5, 7, 9, 11, 12, 16)
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
# Concept -> stems of the CC0 samples of sonic-pi-samples, but for those whose uploader may not have had the right
# (loops of old records) and one of which no source is given.
SAMPLES = {
    "drum": ("drum_", "bd_", "sn_", "tabla_", "loop_tabla"),
    "guitar": ("guit_",),
    "bell": ("perc_bell.", "elec_bell"),
    "piano": ("ambi_piano",),
    "door": ("perc_door",),
}
_BANKS = "usr/share/sounds"
# Package -> its bank. The validation bank shares no samples with the Fluid banks; the third is compressed, untold.
TRAINING_BANKS = {
    "fluid-soundfont-gm": f"{_BANKS}/sf2/FluidR3_GM.sf2",
    "fluid-soundfont-gs": f"{_BANKS}/sf2/FluidR3_GS.sf2",
    "musescore-general-soundfont": f"{_BANKS}/sf3/MuseScore_General_Full.sf3",
}
VALIDATION_BANKS = {"timgm6mb-soundfont": f"{_BANKS}/sf2/TimGM6mb.sf2"}
Maker = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True, slots=True)
class Voice:
    """One program of a loaded bank; called with a generator it plays some two seconds."""

    synth: tinysoundfont.Synth
    font: int
    bank: int
    program: int

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        self.synth.sounds_off()
        self.synth.program_select(0, self.font, self.bank, self.program, self.bank == _DRUMS)
        return _play(self.synth, self.bank, self.program, rng)


def audible(concepts: tuple[Concept, ...]) -> list[int]:
    """The concepts that the training data can play."""
    named = {*load_general_midi(), *EFFECTS, *SAMPLES}
    return [index for index, concept in enumerate(concepts) if concept.name in named]


def bank_voices(packages: Path, banks: Mapping[str, str]) -> dict[str, list[Maker]]:
    """Concept -> the voices that the banks have for it."""
    wanted: dict[str, list[tuple[int, int]]] = {
        name: [(0, program) for program in programs] for name, programs in load_general_midi().items()
    }
    for name, presets in EFFECTS.items():
        wanted[name] = [*wanted.get(name, ()), *presets]
    wanted["drum"] = [(_DRUMS, 0)]
    found: dict[str, list[Maker]] = {}
    for package, file in banks.items():
        synth = tinysoundfont.Synth(samplerate=RATE)
        font = synth.sfload(str(packages / package / file))
        for name, numbers in wanted.items():
            for bank, program in numbers:
                if synth.sfpreset_name(font, bank, program):
                    found.setdefault(name, []).append(Voice(synth, font, bank, program))
    return found


def training_voices(packages: Path) -> dict[str, list[list[Maker]]]:
    """Concept -> its sources, each a list of makers: the banks' voices, samples, foley. Sources are drawn alike."""
    sources: dict[str, list[list[Maker]]] = {}
    for package, file in TRAINING_BANKS.items():
        for name, voices in bank_voices(packages, {package: file}).items():
            sources.setdefault(name, []).append(voices)
    folder = packages / "sonic-pi-samples"
    for name, stems in SAMPLES.items():
        files = sorted(path for path in folder.rglob("*.flac") if path.name.startswith(stems))
        sources.setdefault(name, []).append([_recording(path) for path in files])
    for name, maker in MAKERS.items():
        sources.setdefault(name, []).append([maker])
    return sources


def played(packages: Path, concepts: tuple[Concept, ...], each: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """`each` varied clips of every audible concept: (concept, [1, 128, 204]). A clip's randomness is its own."""
    sources = training_voices(packages)
    behind: np.ndarray | None = None
    for take in range(each):
        for index in audible(concepts):
            rng = np.random.default_rng((seed, index, take))
            kinds = sources[concepts[index].name]
            makers = kinds[int(rng.integers(len(kinds)))]
            wave = makers[int(rng.integers(len(makers)))](rng)
            if np.abs(wave).max() > 1e-4:
                yield index, picture(varied_wave(wave, behind, rng))
                behind = wave


def unseen_bank(
    packages: Path, concepts: tuple[Concept, ...], each: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Validation: `each` clips of what the bank never trained on has, as played: (concept, wave at 16 kHz)."""
    voices = bank_voices(packages, VALIDATION_BANKS)
    for index, concept in enumerate(concepts):
        for take in range(each if concept.name in voices else 0):
            rng = np.random.default_rng((seed, index, take))
            yield index, voices[concept.name][take % len(voices[concept.name])](rng)


def _recording(path: Path) -> Maker:
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    at = np.arange(0, len(wave) - 1, rate / RATE)
    mono = np.interp(at, np.arange(len(wave)), wave.mean(axis=1)).astype(np.float32)
    return lambda rng: mono[int(rng.uniform(0, max(0, len(mono) - 2 * RATE) + 1)) :][: int(_SECONDS * RATE)]


def _play(synth: tinysoundfont.Synth, bank: int, program: int, rng: np.random.Generator) -> np.ndarray:
    """An effect held, drums struck at random, an instrument playing notes or chords of a scale, even or not."""
    effect = program >= _FIRST_EFFECT
    pieces: list[np.ndarray] = []
    root, span = int(rng.integers(40, 78)), int(rng.choice([1, 3, 9]))
    length = float(_SECONDS if effect else rng.choice([0.12, 0.2, 0.3, 0.5, 0.8, 1.5, 2.2]))
    chord = int(rng.choice([1, 1, 1, 2, 3]))
    ring = bool(rng.random() < 0.3)  # notes ring on under the next ones
    while sum(map(len, pieces)) < _SECONDS * RATE:
        if effect:
            keys = [int(rng.integers(52, 69))]
        elif bank == _DRUMS:
            keys = [int(key) for key in rng.choice(_DRUM_KEYS, 2)]
        else:
            keys = [root + int(step) for step in rng.choice(_STEPS[:span] if span > 1 else _STEPS, chord)]
        for key in keys:
            synth.noteon(0, key, int(rng.integers(50, 128)))
        count = int(length * RATE * rng.choice([0.5, 1, 1, 2]))
        stereo = np.frombuffer(synth.generate(max(count, 800)), dtype=np.float32)
        pieces.append(stereo.reshape(-1, 2).mean(axis=1))
        for key in keys if not ring else ():
            synth.noteoff(0, key)
    wave = np.concatenate(pieces)[: int(_SECONDS * RATE)]
    loud: np.ndarray = (wave / max(np.abs(wave).max(), 1e-6) * rng.uniform(0.2, 0.9)).astype(np.float32)
    return loud
