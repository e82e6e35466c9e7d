"""Sources of the training's sounds: voices of banks, CC0 samples; and that no bank is on both sides."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.panda_mini.concepts import load_concepts, load_general_midi
from recipes.panda_mini.data.packages import PACKAGES

pytest.importorskip("tinysoundfont", reason="the player of sound banks is installed by `make mini` alone")
from recipes.panda_mini.data import sounds

RATE = 16_000


class Synth:
    """Plays each key that is held as a sine of its pitch, and keeps what it was told."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.struck: list[int] = []
        self.drums: bool | None = None

    def sounds_off(self) -> None:
        self.held.clear()

    def program_select(self, _channel: int, _font: int, _bank: int, _program: int, drums: bool) -> None:
        self.drums = drums

    def noteon(self, _channel: int, key: int, _velocity: int) -> None:
        self.held.add(key)
        self.struck.append(key)

    def noteoff(self, _channel: int, key: int) -> None:
        self.held.discard(key)

    def generate(self, count: int) -> memoryview:
        time = np.arange(count) / RATE
        wave = sum((np.sin(2 * np.pi * 440 * 2 ** ((key - 69) / 12) * time) for key in self.held), np.zeros(count))
        return memoryview(np.repeat(wave.astype(np.float32), 2).tobytes())


def play(program: int, bank: int = 0, seed: int = 0) -> tuple[Synth, np.ndarray]:
    synth = Synth()
    return synth, sounds.Voice(synth, 0, bank, program)(np.random.default_rng(seed))


def test_a_voice_plays_some_two_seconds_within_bounds_and_by_its_seed_alone() -> None:
    _, wave = play(24)
    assert len(wave) == int(2.2 * RATE)
    assert 0.1 < np.abs(wave).max() <= 0.9
    np.testing.assert_array_equal(wave, play(24)[1])
    assert not np.array_equal(wave, play(24, seed=1)[1])


def test_drums_are_struck_on_the_drums_channel() -> None:
    synth, _ = play(0, bank=128)
    assert synth.drums
    assert set(synth.struck) <= {35, 36, 38, 40, 41, 42, 43, 45, 46, 47, 48, 49, 51}


def test_an_effect_is_held_for_seconds() -> None:
    held = [len(play(123, seed=seed)[0].struck) for seed in range(8)]
    assert max(held) <= 3


def test_an_instrument_plays_melodies_of_more_than_one_note() -> None:
    assert max(len(set(play(24, seed=seed)[0].struck)) for seed in range(8)) > 2


def test_no_bank_is_both_trained_on_and_held_out() -> None:
    use = {package.folder: package.use for package in PACKAGES}
    assert {use[folder] for folder in sounds.TRAINING_BANKS} == {"train"}
    assert {use[folder] for folder in sounds.VALIDATION_BANKS} == {"validation"}


def test_the_audible_concepts_are_those_with_a_source() -> None:
    concepts = load_concepts()
    names = {concepts[index].name for index in sounds.audible(concepts)}
    assert names == {*load_general_midi(), *sounds.EFFECTS, *sounds.SAMPLES}
    assert len(names) == 27


def test_a_sample_is_read_at_the_towers_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "guit_a.flac", np.sin(np.arange(44_100) / 20), 44_100)
    maker: Callable[[np.random.Generator], np.ndarray] = sounds._recording(tmp_path / "guit_a.flac")
    assert abs(len(maker(np.random.default_rng(0))) - RATE) <= 1
