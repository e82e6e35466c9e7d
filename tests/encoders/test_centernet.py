"""The detector: its peaks become things, and its network is the published one's shape."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pandagpt_core.encoders.mini.centernet import CenterNet, overlap, things
from recipes.panda_mini.data.centernet import names, read_manifest


def heat_with(*peaks: tuple[int, int, int, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Peaks of (kind, y, x, score) whose boxes reach 8 pixels to each side."""
    heat, reach = torch.zeros(80, 16, 16), torch.full((4, 16, 16), 8.0)
    for kind, y, x, score in peaks:
        heat[kind, y, x] = score
    return heat, reach


def test_peaks_are_things_the_surest_first_with_boxes_in_shares() -> None:
    found = things(*heat_with((3, 4, 4, 0.5), (0, 10, 12, 0.9)), most=8, least=0.3)
    assert found.kinds.tolist() == [0, 3]
    assert found.boxes[1].tolist() == pytest.approx([8 / 64, 8 / 64, 24 / 64, 24 / 64])


def test_faint_peaks_neighbours_of_a_peak_and_overlapping_boxes_are_left_out() -> None:
    heat, reach = heat_with((0, 4, 4, 0.9), (0, 4, 5, 0.8), (0, 6, 4, 0.7), (2, 10, 10, 0.1))
    assert len(things(heat, 2 * reach, most=8, least=0.3).scores) == 1
    assert len(things(*heat_with((0, 4, 4, 0.9), (1, 4, 4, 0.8)), most=8, least=0.3).scores) == 2


def test_no_more_things_than_asked_for() -> None:
    peaks = [(kind, 4, 4, 0.9) for kind in range(20)]
    assert len(things(*heat_with(*peaks), most=8, least=0.3).scores) == 8


def test_overlap_of_a_box_with_itself_and_with_another() -> None:
    box = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert overlap(box, box) == pytest.approx(1.0)
    assert overlap(box, torch.tensor([0.5, 0.0, 1.0, 1.0])) == pytest.approx(0.5)


def test_maps_are_a_quarter_of_the_pictures_sides() -> None:
    with torch.inference_mode():
        heat, reach = CenterNet().eval()(torch.rand(1, 3, 64, 96) * 255)
    assert (heat.shape, reach.shape) == ((1, 80, 16, 24), (1, 4, 16, 24))
    assert float(heat.min()) >= 0
    assert float(heat.max()) <= 1


def test_every_weight_of_ours_has_one_of_theirs() -> None:
    mapped = dict(names(CenterNet()))
    assert mapped.keys() == CenterNet().state_dict().keys()
    assert len({theirs for (theirs,) in mapped.values()}) == len(mapped)


def test_a_manifest_is_read_in_the_order_of_its_bytes(tmp_path: Path) -> None:
    half, whole = np.array([1.5, 2.0], np.float16), np.array([[7]], np.int32)
    (tmp_path / "a.bin").write_bytes(half.tobytes() + whole.tobytes())
    entries = [
        {"name": "tower_0/a", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {"name": "b", "shape": [1, 1], "dtype": "int32"},
    ]
    model = tmp_path / "m.json"
    model.write_text(json.dumps({"weightsManifest": [{"paths": ["a.bin"], "weights": entries}]}))
    found = read_manifest(model)
    assert found["a"].tolist() == [1.5, 2.0]
    assert found["b"].tolist() == [[7]]
    model.write_text(json.dumps({"weightsManifest": [{"paths": ["a.bin"], "weights": entries[:1]}]}))
    with pytest.raises(ValueError, match="4 of 8 bytes"):
        read_manifest(model)
