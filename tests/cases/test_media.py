"""Files that people have (`shared/cases/media`): each is read as wanted by the default model, or refused in words."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pandagpt_core.errors import InvalidMedia
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.media import Limits, Notes, load, read
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.local import LocalModel, open_model
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from service.gateway.decoding.pool import PoolOptions, child_command
from service.gateway.decoding.pools import DecodePools
from service.gateway.errors import GatewayError
from tests.conftest import ROOT, SHARED

FOLDER = SHARED / "cases" / "media"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "cases.json").read_text()) if FOLDER.is_dir() else []
NAMED = [
    f"{case['file']}{'-' + '-'.join(map(str, case['options'].values())) if case['options'] else ''}" for case in CASES
]
RECIPES = {
    "image": "lite0-image-v1",
    "video": "lite0-video-v1",
    "audio": "mixed-audio-v1",
    "depth": "depth-sunrgbd-v1",
    "thermal": "shown-thermal-v1",
    "imu": "imu-v1",
}
WORDS = ("elephant", "rabbit", "trumpet", "running", "rocket", "dog", "guitar", "panda", "cat")
# Its display matrix turns the picture upside down: the frames lie on their left side, and it turns them further left.
CONTRADICTS = "rot90.mov"
# Inverse depth without a scale: read as the sample's relief, but other distances, of which the default is not sure.
RELATIVE = "midas8.png"
ROCKET = {"unit": "mm", "focal_px": 525, "baseline_m": 0.04}
each = pytest.mark.parametrize("case", CASES, ids=NAMED)


def held(case: dict[str, Any], data: bytes | None = None) -> Held:
    options = tuple(sorted(case["options"].items()))
    return Held(Modality(case["field"]), data or (FOLDER / case["file"]).read_bytes(), options, case["file"])


def looked_at(case: dict[str, Any]) -> Notes:
    return read(RECIPES[case["field"]], held(case).data, case["options"], Limits())[1]


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    return float(one.ravel() @ other.ravel())


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return open_model(ROOT / "models" / "panda-mini")


@pytest.fixture(scope="module")
def answers(model: LocalModel) -> dict[int, str]:
    """What the default model answers to each case that is read."""
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


def test_the_default_model_says_that_it_hears_nothing(model: LocalModel) -> None:
    """As the gateway asks it: the medium weighs nothing, and a sentence stands in front of the words."""
    case = next(case for case in CASES if case["file"] == "silence.wav")
    rows = model._runtime.encode(Modality.AUDIO, [load(RECIPES["audio"], held(case).data, {}, Limits())])
    talk = Conversation(
        (Turn("user", f"{looked_at(case).empty}\nWhat is this?"),), (MediaUse(Modality.AUDIO, "", 0, 0.0),)
    )
    model._runtime.admit(SequenceRequest("x", talk, rows, SamplingParams(max_tokens=16, temperature=0.0)))
    said = ""
    while model._runtime.has_work:
        said += "".join(output.text for output in model._runtime.step())
    assert "silen" in said


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def pool(loop: asyncio.AbstractEventLoop) -> Iterator[DecodePools]:
    pool = DecodePools(PoolOptions(command=child_command(1536 << 20, Limits()), processes=1))
    loop.run_until_complete(pool.start())
    yield pool
    loop.run_until_complete(pool.close())


@each
def test_the_confined_child_reads_a_case_as_the_library_does(
    case: dict[str, Any], pool: DecodePools, loop: asyncio.AbstractEventLoop
) -> None:
    recipe, data = RECIPES[case["field"]], held(case).data
    try:
        wanted, words = load(recipe, data, case["options"], Limits()), ""
    except InvalidMedia as error:
        wanted, words = None, error.message
    try:
        got, said = loop.run_until_complete(pool.decode(recipe, data, case["options"])), ""
    except GatewayError as error:
        got, said = None, error.message
    assert said == words
    assert (got is None) == (wanted is None)
    assert got is None or wanted is None or np.array_equal(got, wanted)


def test_there_are_cases(shared: Path) -> None:
    assert len(CASES) == 51 or not (shared / "cases" / "media").is_dir()
