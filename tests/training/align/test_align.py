"""Alignment of one tower: it moves to where its pictures are, and nothing else moves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pandagpt_core.checkpoints import ENCODER, read_model_folder, verify_files, write_model_folder
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.loading import load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.training.align import checkpoint
from pandagpt_core.training.align.run import LEAST_TEMPERATURE, Contrast, align
from pandagpt_core.training.align.settings import AlignSettings, parse_align_settings
from pandagpt_core.training.align.towers import open_tower, stacked_arrays
from pandagpt_core.training.tune.record import read_log
from pandagpt_core.types import Modality
from recipes.panda_mini.eval_manifest import npy

COLOURS = ("red", "green", "blue", "white", "black", "yellow")
Make = Callable[..., AlignSettings]


@pytest.fixture
def make(tiny_folder: Path, tmp_path: Path) -> Make:
    """Settings that align the motion tower by a picture for each motion."""
    media = tmp_path / "media"
    media.mkdir()
    rows = np.random.default_rng(0).normal(size=(len(COLOURS), 50, 6)).astype(np.float32)
    pairs = []
    for colour, one in zip(COLOURS, rows, strict=True):
        Image.new("RGB", (32, 32), colour).save(media / f"{colour}.png")
        (media / f"{colour}.npy").write_bytes(npy(one))
        pairs.append({"image": f"{colour}.png", "file": f"{colour}.npy", "params": {"rate_hz": 10.0}})
    (media / "pairs.json").write_text(json.dumps(pairs))

    def settings(modality: str = "imu", **train: Any) -> AlignSettings:
        steps = {"steps": 30, "batch": 6, "lr": 3e-3, "threads": 1, "device": "cpu", **train}
        said = {
            "model": str(tiny_folder),
            "out": str(tmp_path / "run"),
            "modality": modality,
            "pairs": {"files": [str(media / "pairs.json")], "media": str(media)},
            "features": {"cache": str(tmp_path / "features")},
            "train": steps,
        }
        return parse_align_settings(said)

    return settings


def nearest(model: Path, media: Path) -> list[int]:
    """For each motion the picture that lies nearest."""
    runtime = load_model(model)

    def vectors(modality: Modality, suffix: str, params: dict[str, float]) -> np.ndarray:
        recipe = runtime.info.recipes[modality]
        files = [(media / f"{colour}{suffix}").read_bytes() for colour in COLOURS]
        rows = runtime.encode(modality, [load(recipe, data, params, Limits()) for data in files])
        return np.stack([runtime.unit(modality, row) for row in rows])

    found = vectors(Modality.IMU, ".npy", {"rate_hz": 10.0}) @ vectors(Modality.IMAGE, ".png", {}).T
    return found.argmax(axis=1).tolist()


@pytest.mark.parametrize("start", ["folder", "fresh"])
def test_a_tower_moves_to_its_pictures_and_nothing_else_moves(
    start: str, make: Make, tiny_folder: Path, tmp_path: Path
) -> None:
    settings = make(start=start)
    done = align(settings)
    assert nearest(done.model, tmp_path / "media") == list(range(len(COLOURS)))
    losses = [line["loss"] for line in read_log(Path(settings.out))]
    assert losses[-1] < 0.3 * losses[0]
    assert LEAST_TEMPERATURE <= done.temperature != 0.07
    before, after = load_file(tiny_folder / ENCODER), load_file(done.model / ENCODER)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(".imu." in name for name in moved)
    said = read_model_folder(done.model)
    verify_files(done.model, said)
    assert said.encoder_digest != read_model_folder(tiny_folder).encoder_digest
    assert done.plot.stat().st_size > 1000


@pytest.mark.parametrize("modality", [Modality.AUDIO, Modality.DEPTH, Modality.THERMAL, Modality.IMU, Modality.TEXT])
def test_what_is_trained_is_what_the_encoder_computes(modality: Modality, tiny_folder: Path) -> None:
    shapes = {
        Modality.AUDIO: (2, 1, 128, 204),
        Modality.DEPTH: (1, 1, 224, 224),
        Modality.THERMAL: (1, 1, 224, 224),
        Modality.IMU: (1, 6, 2000),
    }
    rng = np.random.default_rng(0)
    array = rng.integers(0, 512, (1, 77)) if modality == Modality.TEXT else rng.normal(size=shapes[modality])
    array = array.astype(np.int64 if modality == Modality.TEXT else np.float32)
    tower = open_tower(tiny_folder, read_model_folder(tiny_folder), modality)
    ours = torch.nn.functional.normalize(tower(*stacked_arrays([array])), dim=-1)
    runtime = load_model(tiny_folder)
    theirs = runtime.unit(modality, runtime.encode(modality, [array])[0])
    np.testing.assert_allclose(ours[0].detach().numpy(), theirs, atol=1e-5)
    torch.autograd.backward(ours.sum())
    assert all(parameter.grad is not None for parameter in tower.parameters())


def test_the_small_defaults_motion_tower_is_one_too(root: Path) -> None:
    path = root / "models" / "panda-mini"
    tower = open_tower(path, read_model_folder(path), Modality.IMU)
    held = load_file(path / ENCODER)
    assert tower.state().keys() == {name for name in held if name.startswith("towers.imu.")}


@pytest.fixture
def make_maps(make: Make, root: Path, tmp_path: Path) -> Make:
    """Settings that align the small default's depth tower, which has dropout."""
    media, pairs = tmp_path / "media", []
    for at, colour in enumerate(COLOURS):
        ramp = np.linspace(at / 6, 1, 32, dtype=np.float32)
        (media / f"{colour}-depth.npy").write_bytes(npy(np.tile(ramp, (32, 1))))
        params = {"unit": "disparity"}
        pairs.append({"image": f"{colour}.png", "file": f"{colour}-depth.npy", "params": params})
    (media / "pairs.json").write_text(json.dumps(pairs))
    model = str(root / "models" / "panda-mini")
    return lambda **train: msgspec.structs.replace(make("depth", **train), model=model)


def test_of_the_small_defaults_towers_for_maps_the_head_alone_moves(make_maps: Make, root: Path) -> None:
    done = align(make_maps(steps=2, lr=1e-2))
    before, after = load_file(root / "models" / "panda-mini" / ENCODER), load_file(done.model / ENCODER)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("towers.depth.head.") for name in moved)
    clips = torch.rand(2, 1, 224, 224)
    tower = open_tower(done.model, read_model_folder(done.model), Modality.DEPTH).eval()
    served = load_encoder(done.model, read_model_folder(done.model), "cpu").encode(Modality.DEPTH, clips)
    torch.testing.assert_close(tower(clips, [1, 1]).detach(), served, atol=1e-5, rtol=1e-4)


def test_an_alignment_that_was_cut_off_goes_on_to_the_very_same_weights(make_maps: Make, tmp_path: Path) -> None:
    whole = make_maps(steps=4, checkpoint_every=2)
    parts = msgspec.structs.replace(whole, out=str(tmp_path / "parts"))
    wanted, out = align(whole), Path(parts.out)

    def cut(_steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(parts, on_checkpoint=cut)
    (out / "log.jsonl").write_text((out / "log.jsonl").read_text() + '{"step": 3, "loss": 99.0}\n')
    with pytest.raises(InvalidRequest, match="holds an alignment already; --resume goes on with it"):
        align(parts)
    slower = msgspec.structs.replace(parts, train=msgspec.structs.replace(parts.train, lr=1e-4))
    with pytest.raises(InvalidRequest, match=r"train\.lr was 0\.003, it is 0\.0001"):
        align(slower, resume=True)
    done = align(parts, resume=True)
    drawn = [[line["loss"] for line in read_log(Path(one.out))] for one in (whole, parts)]
    assert drawn[0] == drawn[1]
    assert len(drawn[1]) == 4
    once, again = (load_file(one.model / ENCODER) for one in (wanted, done))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not (out / checkpoint.FILE).exists()


def test_an_alignment_without_a_checkpoint_begins_again_only_on_request(make: Make) -> None:
    settings = make(steps=2)
    out = Path(settings.out)
    out.mkdir()
    (out / "log.jsonl").write_text('{"step": 1, "loss": 99.0}\n')
    with pytest.raises(InvalidRequest, match="ended after 1 steps, before its first checkpoint; --resume begins it"):
        align(settings)
    align(settings, resume=True)
    assert [line["step"] for line in read_log(out)] == [1, 2]


def test_a_tower_that_the_folder_lacks_is_not_made(make: Make, tiny_folder: Path, tmp_path: Path) -> None:
    without = tmp_path / "without"
    shutil.copytree(tiny_folder, without)
    said = read_model_folder(without)
    recipes = {modality: recipe for modality, recipe in said.recipes.items() if modality != Modality.IMU}
    write_model_folder(without, msgspec.structs.replace(said, recipes=recipes))
    with pytest.raises(InvalidRequest, match="tiny takes no imu; it takes image"):
        align(msgspec.structs.replace(make(), model=str(without)))


def test_the_right_pair_wins_and_pairs_of_one_picture_share_it() -> None:
    contrast, eye = Contrast(0.07, learned=False), torch.eye(3)
    groups = torch.arange(3)
    assert float(contrast(eye, eye, groups)) < 1e-4 < float(contrast(eye.roll(1, 0), eye, groups))
    twins = eye[[0, 0, 2]]
    assert float(contrast(twins, twins, torch.tensor([0, 0, 2]))) == pytest.approx(np.log(2) * 2 / 3, abs=1e-3)


def test_a_temperature_is_learned_only_where_it_may() -> None:
    assert [len([p for p in Contrast(0.07, one).parameters() if p.requires_grad]) for one in (True, False)] == [1, 0]
    assert Contrast(1e-5, learned=True).temperature == pytest.approx(LEAST_TEMPERATURE)


def test_pairs_that_cannot_be_read_are_told(make: Make, tmp_path: Path) -> None:
    (tmp_path / "media" / "red.npy").write_bytes(b"nothing")
    (tmp_path / "media" / "blue.npy").unlink()
    with pytest.raises(InvalidRequest) as refused:
        align(make())
    assert "pair 0: red.npy: " in refused.value.message
    assert "pair 2: blue.npy: No such file" in refused.value.message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"batch": 7}, r"train\.batch is 7, there are only 6 pairs"),
        ({"batch": 1}, r"train\.batch is 1; expected `int` >= 2"),
        ({"bach": 1}, r"there is no train\.bach; did you mean train\.batch\?"),
        ({"modality": "text"}, r"pairs\.json\[0\]: it has no text, which a tower of text reads"),
        ({"modality": "image"}, "modality is 'image'; expected audio or depth or thermal or imu or text"),
    ],
)
def test_a_wrong_setting_is_told_with_its_value(change: dict[str, Any], told: str, make: Make) -> None:
    with pytest.raises(InvalidRequest, match=told):
        align(make(**change))
