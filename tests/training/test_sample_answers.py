"""The committed default model names what every sample shows, alone and together, and README tells what it said."""

from pathlib import Path

import numpy as np
import pytest

from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.evaluate_senses import answers_about
from pandagpt_core.types import Modality
from service.local.samples import Sample, asks


@pytest.fixture(scope="module")
def groups(root: Path) -> list[list[Sample]]:
    return asks(root / "samples")


def shown(sample: Sample) -> str:
    """A sample's file is named after what it shows."""
    return sample.path.stem.split("-")[0]


def test_every_sample_is_named(root: Path, groups: list[list[Sample]]) -> None:
    runtime = Runtime.load(root / "models" / "panda-mini", max_sequences=8, max_model_len=128)

    def embedded(sample: Sample) -> tuple[Modality, np.ndarray]:
        modality = Modality(sample.modality)
        array = load(runtime.info.recipes[modality], sample.path.read_bytes(), sample.options, Limits())
        [embedding] = runtime.encode(modality, [array])
        return modality, embedding

    said = answers_about(runtime, [[embedded(sample) for sample in group] for group in groups])
    missed = [
        (shown(sample), answer)
        for group, answer in zip(groups, said, strict=True)
        for sample in group
        if shown(sample) not in answer
    ]
    assert missed == []


def test_readme_shows_what_was_said_of_each(root: Path, groups: list[list[Sample]]) -> None:
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    for group in groups:
        title = " + ".join(f"{sample.modality} {sample.path.name}" for sample in group)
        [answer] = [line.removeprefix(title) for line in lines if line.startswith(f"{title}  ")]
        assert all(shown(sample) in answer for sample in group)
