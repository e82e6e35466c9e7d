"""The choice of library and batch for a tower of one shape: by clocks that are made up, so on any machine."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.autotune import AutotuneReport, Choices, Steps, Timer
from pandagpt_core.encoders.mini.encoder import MiniEncoder
from pandagpt_core.encoders.static.choice import COMPILED, TORCH, choose_static
from pandagpt_core.encoders.static.probe import why_not
from pandagpt_core.encoders.static.tower import StaticTower, apart
from pandagpt_core.llm import openvino
from pandagpt_core.types import Modality
from tests.encoders.static.traced import tracing
from tests.llm.openvino_here import absent

CLIP = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Tower(nn.Module):
    """Convolutions to a vector and a map; notes the sizes of the batches that torch computes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.deep = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.read = nn.Linear(16, 8)
        self.batches: list[int] = []
        self.requires_grad_(False)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(len(clips))
        maps = F.relu6(self.deep(F.hardswish(self.stem(clips))))
        return self.read(maps.mean(dim=(2, 3))), maps


class OtherwiseTraced(Tower):
    """A tower whose graph gives another answer than the tower."""

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        vector, maps = super().forward(clips)
        return (-vector, maps) if tracing() else (vector, maps)


class Untraceable(Tower):
    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        if tracing():
            raise NotImplementedError("no graph of this")
        return super().forward(clips)


class OneForAll(Tower):
    """A tower whose graph gives the first clip's answer for each of a batch."""

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        vector, maps = super().forward(clips)
        first = torch.zeros(len(clips), dtype=torch.long)
        return vector[first] if tracing() else vector, maps


class Place:
    """The holder of a tower."""

    def __init__(self, module: nn.Module, most: int = 32) -> None:
        self.module = module
        self.tower = StaticTower("image", module, CLIP, lambda other: setattr(self, "module", other), most)

    def choose(self, timed: Timer, **options: object) -> list[AutotuneReport]:
        choices = Choices()
        given = {"least": 0, "why_not": lambda: "", "report": choices, **options}
        choose_static([self.tower], timed=timed, **given)  # type: ignore[arg-type]
        return choices.reports


def by(runner: str, batch: int = 1) -> Timer:
    """A clock by which that runner and that batch are faster than the others."""
    return lambda steps: {name: 0.1 if name.startswith((runner, f"{batch} ")) else 1.0 for name in steps}


def never(_steps: Steps) -> Mapping[str, float]:
    raise AssertionError("nothing is to be timed")


@pytest.fixture
def compiles() -> None:
    """OpenVINO computes towers on this machine."""
    if not openvino.installed():
        pytest.skip("OpenVINO is not installed (pip install -e '.[openvino]')")
    if reason := why_not():
        pytest.skip(f"OpenVINO computes no towers here: {reason}")


def clips(count: int) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 9), (4, [4, 4, 1]), (8, [8, 1])])
def test_torch_is_given_as_many_clips_as_were_fastest(batch: int, sizes: Sequence[int]) -> None:
    module = Tower()
    place = Place(module)
    reports = place.choose(by("torch", batch), runner="torch")
    expected = module(clips(9))
    module.batches.clear()
    assert apart(expected, place.module(clips(9))) < 1e-9
    assert module.batches == sizes
    assert [(report.what, report.taken) for report in reports] == [
        ("image tower", TORCH),
        ("clips of the image tower", f"{batch} at once"),
    ]


def test_batches_that_gain_little_are_not_taken() -> None:
    place = Place(Tower())
    reports = place.choose(lambda steps: {name: 0.9 if name[0] == "8" else 1.0 for name in steps}, runner="torch")
    assert reports[-1].taken == "1 at once"


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 15), (4, [4, 4, 4, 3])])
def test_the_frames_of_a_film_come_in_the_batch_that_was_fastest(batch: int, sizes: Sequence[int]) -> None:
    encoder = MiniEncoder({"dim": 256, "towers": {"image": {"hidden": 8}}}).eval().requires_grad_(False)
    seen: list[int] = []
    (tower,) = encoder.static_towers()
    choose_static([tower], "torch", timed=by("torch", batch))
    tower.module.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    encoder.rows(Modality.VIDEO, [np.zeros((15, 3, 32, 32), np.float32)])
    assert seen == sizes


@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize("batch", [1, 4])
def test_openvino_computes_where_it_is_faster_and_says_the_same(batch: int) -> None:
    module = Tower()
    place = Place(module)
    reports = place.choose(by("openvino", batch))
    assert [report.taken for report in reports] == [COMPILED, f"{batch} at once"]
    expected = [module(clips(count)) for count in (1, 3, 4, 9)]
    module.batches.clear()
    for count, outputs in zip((1, 3, 4, 9), expected, strict=True):
        assert apart(outputs, place.module(clips(count))) < 1e-6
    assert module.batches == []


@pytest.mark.usefixtures("compiles")
def test_a_clip_of_another_shape_is_computed_by_torch() -> None:
    module = Tower()
    place = Place(module)
    other = torch.randn(2, 3, 20, 24)
    expected = module(other)
    assert place.choose(by("openvino"))[0].taken == COMPILED
    assert apart(expected, place.module(other)) == pytest.approx(0.0, abs=1e-9)


def test_torch_computes_where_openvino_is_no_faster() -> None:
    assert Place(Tower()).choose(by("torch"))[0].taken == TORCH
    assert Place(Tower()).choose(lambda steps: dict.fromkeys(steps, 1.0))[0].taken == TORCH


@pytest.mark.usefixtures("compiles")
def test_what_leaves_the_margin_is_out_whatever_its_speed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report, *_ = Place(OtherwiseTraced()).choose(by("openvino"))
    assert report.taken == TORCH
    assert "its answers deviate by 2" in report.trials[1].out
    assert caplog.text.count("openvino float32 is no candidate here") == 1


@pytest.mark.usefixtures("compiles")
def test_a_batch_that_leaves_the_margin_is_out_alone() -> None:
    reports = Place(OneForAll()).choose(lambda steps: {name: 0.1 if name[0] in "o48" else 1.0 for name in steps})
    assert [report.taken for report in reports] == [COMPILED, "1 at once"]


@pytest.mark.usefixtures("compiles")
def test_a_tower_without_a_graph_stays_with_torch() -> None:
    report, *_ = Place(Untraceable()).choose(by("openvino"))
    assert report.taken == TORCH
    assert "no graph of this" in report.trials[1].out


def test_where_openvino_computes_no_towers_torch_does(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report, *_ = Place(Tower()).choose(by("openvino"), why_not=lambda: "the process that tried it ended")
    assert report.taken == TORCH
    assert not openvino.installed() or "the process that tried it ended" in caplog.text


def test_without_openvino_or_with_torch_named_it_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    named, *_ = Place(Tower()).choose(by("openvino"), runner="torch")
    absent(monkeypatch)
    without, *_ = Place(Tower()).choose(by("openvino"))
    assert [trial.name for report in (named, without) for trial in report.trials] == [TORCH, TORCH]


def test_a_tower_for_one_clip_at_a_time_and_a_small_one_have_no_batch_to_choose() -> None:
    assert [report.what for report in Place(Tower(), most=1).choose(by("torch"))] == ["image tower"]
    small = Place(Tower())
    assert small.choose(never, least=10**6) == []
    assert isinstance(small.module, Tower)


@pytest.mark.usefixtures("compiles")
def test_a_later_load_takes_the_same_again_without_a_trial_or_a_trace(tmp_path: Path) -> None:
    first = Place(Tower())
    reports = first.choose(by("openvino"), cache=tmp_path)
    known, later = Choices(reports), Tower()
    place = Place(later)
    place.choose(never, cache=tmp_path, report=known, why_not=lambda: "is not asked again")
    assert known.reports == reports
    assert later.batches == []
    assert apart(first.module(clips(3)), place.module(clips(3))) == pytest.approx(0.0, abs=1e-12)
