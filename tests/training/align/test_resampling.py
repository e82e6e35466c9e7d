"""Alignment of a tower's resampler: its rows move to the pictures, the towers and all else stay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pandagpt_core.checkpoints import ENCODER, RESAMPLER, PandaGPTFolder, read_folder_of, verify_files
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.loading import load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.training.align.run import Contrast, align
from pandagpt_core.training.align.settings import AlignSettings, parse_align_settings
from pandagpt_core.training.tune.record import read_log
from pandagpt_core.types import Modality
from recipes.panda_mini.eval_manifest import npy
from tests.soft_tokens import with_soft_tokens

COLOURS = ("red", "green", "blue", "white", "black", "yellow")
K = 3
Make = Callable[..., AlignSettings]


@pytest.fixture
def make(tiny_folder: Path, tmp_path: Path) -> Make:
    """Settings that align a resampler over the motion tower by a picture for each motion."""
    media = tmp_path / "media"
    media.mkdir()
    motions = np.random.default_rng(0).normal(size=(len(COLOURS), 50, 6)).astype(np.float32)
    pairs = []
    for colour, one in zip(COLOURS, motions, strict=True):
        Image.new("RGB", (32, 32), colour).save(media / f"{colour}.png")
        (media / f"{colour}.npy").write_bytes(npy(one))
        pairs.append({"image": f"{colour}.png", "file": f"{colour}.npy", "params": {"rate_hz": 10.0}})
    (media / "pairs.json").write_text(json.dumps(pairs))

    def settings(out: str = "run", soft_tokens: int = K, model: Path = tiny_folder, **train: Any) -> AlignSettings:
        return parse_align_settings(
            {
                "model": str(model),
                "out": str(tmp_path / out),
                "modality": "imu",
                "soft_tokens": soft_tokens,
                "resampler": {"width": 16, "heads": 2, "layers": 1},
                "pairs": {"files": [str(media / "pairs.json")], "media": str(media)},
                "features": {"cache": str(tmp_path / "features")},
                "train": {"steps": 40, "batch": 6, "lr": 1e-2, "threads": 1, "device": "cpu", **train},
            }
        )

    return settings


def nearest(model: Path, media: Path) -> list[int]:
    """For each motion the picture that lies nearest to one of its rows."""
    runtime = load_model(model)

    def rows(modality: Modality, suffix: str, params: dict[str, float]) -> list[np.ndarray]:
        recipe = runtime.info.recipes[modality]
        files = [(media / f"{colour}{suffix}").read_bytes() for colour in COLOURS]
        return runtime.encode(modality, [load(recipe, data, params, Limits()) for data in files])

    pictures = np.stack([runtime.unit(Modality.IMAGE, row) for row in rows(Modality.IMAGE, ".png", {})])
    found = []
    for motion in rows(Modality.IMU, ".npy", {"rate_hz": 10.0}):
        read = motion[1:] / np.linalg.norm(motion[1:], axis=1, keepdims=True)
        found.append(int((read @ pictures.T).max(axis=0).argmax()))
    return found


def test_the_rows_move_to_their_pictures_and_nothing_else_moves(make: Make, tiny_folder: Path, tmp_path: Path) -> None:
    settings = make()
    done = align(settings)
    assert nearest(done.model, tmp_path / "media") == list(range(len(COLOURS)))
    losses = [line["loss"] for line in read_log(Path(settings.out))]
    assert losses[-1] < 0.3 * losses[0]
    folder = read_folder_of(done.model, PandaGPTFolder)
    verify_files(done.model, folder)
    assert folder.soft_tokens is not None
    assert folder.soft_tokens.count == K
    assert folder.files[ENCODER] == read_folder_of(tiny_folder, PandaGPTFolder).files[ENCODER]
    written = {name for name, tensor in load_file(done.model / RESAMPLER).items() if ".out." in name and tensor.any()}
    assert written == {"towers.imu.out.weight", "towers.imu.out.bias"}


def test_a_folders_resampler_is_trained_on_and_the_other_towers_are_kept(
    make: Make, tiny_folder: Path, tmp_path: Path
) -> None:
    soft = with_soft_tokens(tiny_folder, tmp_path / "soft", K)
    done = align(make(model=soft, steps=2))
    before, after = load_file(soft / RESAMPLER), load_file(done.model / RESAMPLER)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("towers.imu.") for name in moved)
    assert float((before["towers.imu.queries"] - after["towers.imu.queries"]).abs().max()) < 0.05
    fresh = align(make("fresh", model=soft, steps=2, start="fresh"))
    drawn = load_file(fresh.model / RESAMPLER)
    assert float((before["towers.imu.out.weight"] - drawn["towers.imu.out.weight"]).abs().max()) > 0.05
    assert torch.equal(before["towers.audio.queries"], drawn["towers.audio.queries"])


def test_an_alignment_that_was_cut_off_goes_on_to_the_very_same_weights(make: Make) -> None:
    whole, parts = make("whole", steps=4, checkpoint_every=2), make("parts", steps=4, checkpoint_every=2)
    wanted = align(whole)

    def cut(_steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(parts, on_checkpoint=cut)
    wider = msgspec.structs.replace(parts, resampler=msgspec.structs.replace(parts.resampler, width=32))
    with pytest.raises(InvalidRequest, match=r"resampler was .*'width': 16.*, it is .*'width': 32"):
        align(wider, resume=True)
    done = align(parts, resume=True)
    states = [load_file(one.model / RESAMPLER) for one in (wanted, done)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_tower_below_a_trained_resampler_is_not_changed(make: Make, tiny_folder: Path, tmp_path: Path) -> None:
    """The resampler would read other tokens than those that it was trained on, and nobody would notice."""
    soft = with_soft_tokens(tiny_folder, tmp_path / "soft", K)
    with pytest.raises(InvalidRequest, match=r"soft has a resampler .* align the resampler with soft_tokens = 3"):
        align(make(model=soft, soft_tokens=0))


def test_another_number_of_rows_than_the_folders_is_refused(make: Make, tiny_folder: Path, tmp_path: Path) -> None:
    soft = with_soft_tokens(tiny_folder, tmp_path / "soft", K)
    with pytest.raises(InvalidRequest, match="soft_tokens is 5, the resampler of soft has 3"):
        align(make(model=soft, soft_tokens=5))


def test_of_several_rows_the_nearest_counts() -> None:
    contrast = Contrast(0.1, learned=False)
    wanted, groups = torch.eye(3), torch.arange(3)
    rows = torch.stack([torch.stack([-wanted[at], wanted[at]]) for at in range(3)])  # [3, 2, 3]
    assert float(contrast(rows, wanted, groups)) < float(contrast(wanted[[1, 2, 0]], wanted, groups))
    torch.testing.assert_close(contrast(wanted[:, None], wanted, groups), contrast(wanted, wanted, groups))
