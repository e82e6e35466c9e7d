"""The committed default model names what every sample shows, alone and together, and README tells what it said."""

from pathlib import Path

import pytest

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.local import LocalModel
from pandagpt_core.types import Modality
from service.local.samples import Sample, questions
from tests.exact import exact_runtime


@pytest.fixture(scope="module")
def groups(root: Path) -> list[list[Sample]]:
    """Of the samples those that the default takes."""
    takes = {modality.value for modality in read_model_folder(root / "models" / "panda-mini").recipes}
    return [group for group in questions(root / "samples") if takes.issuperset(sample.modality for sample in group)]


def shown(sample: Sample) -> str:
    """A sample's file is named after what it shows."""
    return sample.path.stem.split("-")[0]


def test_every_sample_is_named(root: Path, groups: list[list[Sample]]) -> None:
    runtime = exact_runtime(root / "models" / "panda-mini", max_model_len=128)

    def held(sample: Sample) -> Held:
        options = tuple(sorted(sample.options.items()))
        return Held(Modality(sample.modality), sample.path.read_bytes(), options, sample.path.name)

    asked = [Asked("What is this?", tuple(held(sample) for sample in group)) for group in groups]
    said = LocalModel(runtime).answer(asked, 24)
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
