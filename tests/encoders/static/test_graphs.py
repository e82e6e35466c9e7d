"""Graphs in files: kept for the next load, made anew where they are not what was written, removed when out of use."""

import logging
import threading
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install -e '.[openvino]')")

from pandagpt_core.encoders.static.compiled import Compiler
from pandagpt_core.encoders.static.graphs import FOLDER, Graphs, graph_name
from pandagpt_core.encoders.static.probe import why_not
from pandagpt_core.encoders.static.tower import StaticTower, apart, as_tuple
from tests.encoders.static.traced import tracing


@pytest.fixture(autouse=True)
def _compiles() -> None:
    if reason := why_not():
        pytest.skip(f"OpenVINO computes no towers here: {reason}")


class Tower(nn.Module):
    def __init__(self, seed: int = 0, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem, self.read = nn.Conv2d(3, width, 3, 1, 1), nn.Linear(width, 4)
        self.traces = 0
        self.requires_grad_(False)

    def forward(self, clips: Tensor) -> Tensor:
        self.traces += tracing()
        read: Tensor = self.read(F.relu(self.stem(clips)).mean(dim=(2, 3)))
        return read


def placed(module: nn.Module) -> StaticTower:
    return StaticTower("tiny", module, torch.ones(1, 3, 8, 8), put=lambda _: None)


def test_a_kept_graph_is_read_and_the_tower_is_not_traced(tmp_path: Path) -> None:
    Graphs(tmp_path).of(placed(Tower()))
    later = Tower()
    graph = Graphs(tmp_path).of(placed(later))
    assert later.traces == 0
    clips = torch.randn(3, 3, 8, 8)
    assert apart(later(clips), Compiler(later, graph).at(1)(clips)) < 1e-6


@pytest.mark.parametrize("kind", ["xml", "bin", "json"])
@pytest.mark.parametrize("damage", [b"", b"none of this"])
def test_a_damaged_graph_is_made_anew(
    tmp_path: Path, kind: str, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    Graphs(tmp_path).of(placed(Tower()))
    (file,) = (tmp_path / FOLDER).glob(f"*.{kind}")
    file.unlink()  # mapped by the graph above, as by a worker that runs
    file.write_bytes(damage)
    for traces in (1, 0):
        module = Tower()
        with caplog.at_level(logging.WARNING):
            graph = Graphs(tmp_path).of(placed(module))
        assert module.traces == traces
        assert apart(module(torch.ones(1, 3, 8, 8)), Compiler(module, graph).at(1)(torch.ones(1, 3, 8, 8))) < 1e-6
    assert caplog.text.count("made anew") == 1


def test_a_missing_file_is_made_anew(tmp_path: Path) -> None:
    Graphs(tmp_path).of(placed(Tower()))
    next((tmp_path / FOLDER).glob("*.bin")).unlink()
    module = Tower()
    Graphs(tmp_path).of(placed(module))
    assert module.traces == 1


def test_the_graph_of_other_weights_or_sizes_has_another_name() -> None:
    names = [graph_name(placed(tower)) for tower in (Tower(), Tower(), Tower(seed=1), Tower(width=16))]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_what_a_load_did_not_use_is_removed(tmp_path: Path) -> None:
    Graphs(tmp_path).of(placed(Tower(seed=1)))
    later = Graphs(tmp_path)
    later.of(placed(Tower()))
    later.prune()
    name = graph_name(placed(Tower()))
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == [
        f"{name}.{kind}" for kind in ("bin", "json", "xml")
    ]


def test_without_a_folder_the_graph_outlives_its_files() -> None:
    module = Tower()
    graph = Graphs(None).of(placed(module))
    graph.leave_memory()
    clips = torch.randn(2, 3, 8, 8)
    assert apart(module(clips), Compiler(module, graph).at(1)(clips)) < 1e-6


def test_a_batch_and_what_is_left_of_it_are_computed_alike() -> None:
    module = Tower()
    tower = Compiler(module, Graphs(None).of(placed(module))).at(4)
    for count in (1, 3, 4, 9):
        clips = torch.randn(count, 3, 8, 8)
        (outputs,) = as_tuple(tower(clips))
        torch.testing.assert_close(outputs, module(clips), atol=1e-5, rtol=1e-4)


def test_lanes_that_share_a_tower_get_their_own_answers() -> None:
    module = Tower()
    tower = Compiler(module, Graphs(None).of(placed(module))).at(1)
    wrong: list[int] = []

    def lane(seed: int) -> None:
        clips = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        for _ in range(20):
            if apart(module(clips), tower(clips)) > 1e-6:
                wrong.append(seed)

    lanes = [threading.Thread(target=lane, args=(seed,)) for seed in range(4)]
    for each in lanes:
        each.start()
    for each in lanes:
        each.join()
    assert wrong == []
