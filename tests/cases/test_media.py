"""Files that people have (`shared/cases/media`): each is read as wanted by the default model, or refused in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.media import Limits, Notes, load, read
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.local import AT_ONCE, LocalModel
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.cases.files import CASES, FOLDER, NAMED, RECIPES, held
from tests.conftest import ROOT
from tests.exact import exact_runtime

WORDS = ("elephant", "rabbit", "trumpet", "running", "rocket", "dog", "guitar", "panda", "cat")
# A display matrix that turns the picture upside down: the frames lie on their left side, and it turns them further
# left.
CONTRADICTS = "rot90.mov"
# Inverse depth without a scale: read as the sample's relief, but other distances, of which the default is not sure.
RELATIVE = "midas8.png"
ROCKET = {"unit": "mm", "focal_px": 525, "baseline_m": 0.04}
each = pytest.mark.parametrize("case", CASES, ids=NAMED)


def looked_at(case: dict[str, Any]) -> Notes:
    return read(RECIPES[case["field"]], held(case).data, case["options"], Limits())[1]


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    return float(one.ravel() @ other.ravel())


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return LocalModel(exact_runtime(ROOT / "models" / "panda-mini", AT_ONCE))


@pytest.fixture(scope="module")
def answers(model: LocalModel) -> dict[int, str]:
    """The default model's answers to the cases that are read."""
    kept: dict[int, Held] = {}
    for index, case in enumerate(CASES):
        try:
            load(RECIPES[case["field"]], held(case).data, case["options"], Limits())
        except InvalidMedia:
            continue
        kept[index] = held(case)
    given = model.answer([Asked("What is this?", (one,)) for one in kept.values()], 16)
    return dict(zip(kept, given, strict=True))


@each
def test_a_case_is_answered_or_refused_as_wanted(case: dict[str, Any], answers: dict[int, str]) -> None:
    index = CASES.index(case)
    wanted = [word for word in WORDS if word in case["want"].split()]
    if case["want"] in ("refusal", "clear refusal") and index not in answers:
        with pytest.raises(InvalidMedia) as caught:
            load(RECIPES[case["field"]], held(case).data, case["options"], Limits())
        assert "damaged" not in caught.value.message
    elif case["file"] == RELATIVE:
        read_map = load(RECIPES["depth"], held(case).data, case["options"], Limits())
        sample = load(RECIPES["depth"], (ROOT / "samples/rocket-depth.png").read_bytes(), ROCKET, Limits())
        assert np.corrcoef(read_map.ravel(), sample.ravel())[0, 1] > 0.9
        assert "rocket" in answers[index] or "not sure" in answers[index]
    elif case["file"] == CONTRADICTS or not wanted:
        pytest.skip("compared by another test of this module")
    elif case["kind"].startswith("K7"):
        assert looked_at(case).empty == "The video is all black."
    elif "refusal" in case["want"] and index not in answers:
        assert case["kind"] == "K3 flat map"
    else:
        assert any(word in answers[index] for word in wanted)


@pytest.mark.parametrize("name", ["m.exr", "m.npz"])
def test_maps_that_were_refused_are_read_as_the_sample_is(model: LocalModel, name: str) -> None:
    case = next(case for case in CASES if case["file"] == name)
    sample = (ROOT / "samples" / "rocket-depth.png").read_bytes()
    plain = Held(Modality.DEPTH, sample, (("baseline_m", 0.04), ("focal_px", 525.0), ("unit", "mm")), "sample")
    assert similarity(*model.embed([held(case), plain])) > 0.999


def test_a_display_matrix_is_followed_as_viewers_follow_it(model: LocalModel) -> None:
    case = next(case for case in CASES if case["file"] == CONTRADICTS)
    data = held(case).data
    at = data.index(b"tkhd") + 44
    left, right = (
        b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
        for matrix in ((0, -65536, 0, 65536, 0), (0, 65536, 0, -65536, 0))
    )
    assert data[at : at + 20] == left
    turned = held(case, data[:at] + right + data[at + 20 :])
    sample = Held(Modality.VIDEO, (ROOT / "samples" / "elephant.mp4").read_bytes(), (), "sample")
    assert "elephant" in model.answer([Asked("What is this?", (turned,))], 16)[0]
    assert similarity(*model.embed([turned, sample])) > 0.95


def test_samples_that_are_not_square_give_the_samples_own_vector(model: LocalModel) -> None:
    case = next(case for case in CASES if case["file"] == "sar21.mp4")
    sample = Held(Modality.VIDEO, (ROOT / "samples" / "elephant.mp4").read_bytes(), (), "sample")
    assert similarity(*model.embed([held(case), sample])) > 0.95


def test_silence_is_said() -> None:
    assert looked_at(next(case for case in CASES if case["file"] == "silence.wav")).empty == "The sound is silent."


def said_of(model: LocalModel, media: list[tuple[Held, float]], sentence: str = "") -> str:
    """As the gateway asks it: a medium that holds nothing weighs nothing, and a sentence stands before the words."""
    rows = [
        row
        for one, _ in media
        for row in model._runtime.encode(
            one.modality, [load(RECIPES[one.modality.value], one.data, dict(one.params), Limits())]
        )
    ]
    uses = tuple(MediaUse(one.modality, "", 0, weight) for one, weight in media)
    talk = Conversation((Turn("user", f"{sentence}What is this?"),), uses)
    model._runtime.admit(SequenceRequest("x", talk, rows, SamplingParams(max_tokens=16, temperature=0.0)))
    said = ""
    while model._runtime.has_work:
        said += "".join(output.text for output in model._runtime.step())
    return said


def test_the_default_model_says_that_it_hears_nothing(model: LocalModel) -> None:
    case = next(case for case in CASES if case["file"] == "silence.wav")
    assert "silen" in said_of(model, [(held(case), 0.0)], "The sound is silent.\n")


def test_of_a_black_film_with_its_sound_the_default_describes_the_sound(model: LocalModel) -> None:
    """The film's sound is a medium of its own (`video_audio`), by both doors in `test_doors.py`."""
    film = held(next(case for case in CASES if case["file"] == "black_trumpet.mp4"))
    sound = Held(Modality.AUDIO, film.data, (), "its sound")
    assert "trumpet" in said_of(model, [(film, 0.0), (sound, 1.0)])


def test_a_portrait_film_whose_pixels_are_upright_shows_what_the_sample_shows() -> None:
    """The twin of a film that a display matrix turns: the same scene, its sides exchanged by its writer."""
    baked = load(RECIPES["video"], (FOLDER / "portrait_baked.mp4").read_bytes(), {}, Limits())
    sample = load(RECIPES["video"], (ROOT / "samples" / "elephant.mp4").read_bytes(), {}, Limits())
    assert np.corrcoef(baked.ravel(), sample.ravel())[0, 1] > 0.98


def test_there_are_cases(shared: Path) -> None:
    assert len(CASES) == 51 or not (shared / "cases" / "media").is_dir()
