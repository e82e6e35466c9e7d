"""MiniGPT-v2's downloads into a folder: which keys are read, which may be left; nothing else is passed over."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import MiniGPTv2Folder, module_shapes, read_model_folder, verify_files
from pandagpt_core.convert.minigpt_v2 import MiniGPTv2Options, MiniGPTv2Originals, convert_minigpt_v2, plan_minigpt_v2
from pandagpt_core.encoders.eva_vit import EvaSizes, EvaVit
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.types import Modality

SIZES = EvaSizes(width=48, blocks=3, heads=4, mlp=209)
OPTIONS = MiniGPTv2Options(model_id="tiny", sizes=SIZES, lora_alpha=2.0)
State = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def tiny(golden: Path) -> Path:
    return golden / "minigpt-v2-tiny"


@pytest.fixture(scope="module")
def whole(tiny: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny / "weights.safetensors")


@pytest.fixture
def eva(whole: State, tmp_path: Path) -> Path:
    path = tmp_path / "eva.pth"
    torch.save({k.removeprefix("visual_encoder."): v for k, v in whole.items() if k.startswith("visual_")}, path)
    return path


@pytest.fixture
def originals(tiny: Path, eva: Path) -> MiniGPTv2Originals:
    return MiniGPTv2Originals(tiny / "llama2_tiny", eva, tiny / "checkpoint_0.pth")


def resaved(path: Path, **changes: torch.Tensor | None) -> Path:
    """A file beside it with tensors added, changed or taken away, by their names with "__" for a dot."""
    state = torch.load(path, weights_only=True)
    named = {name.replace("__", "."): tensor for name, tensor in changes.items()}
    torch.save({key: tensor for key, tensor in {**state, **named}.items() if tensor is not None}, path.parent / "c.pth")
    return path.parent / "c.pth"


def test_a_folder_is_made_whose_files_are_those_that_it_names(originals: MiniGPTv2Originals, tmp_path: Path) -> None:
    made = convert_minigpt_v2(originals, tmp_path / "out", OPTIONS)
    folder = read_model_folder(tmp_path / "out")
    assert folder == made
    assert isinstance(folder, MiniGPTv2Folder)
    assert (folder.system, folder.recipes) == ("minigpt-v2", {Modality.IMAGE: "eva-image-v1"})
    assert folder.lora is not None
    assert (folder.lora.r, folder.lora.scale, folder.lora.targets) == (8, 0.25, ("q_proj", "v_proj"))
    verify_files(tmp_path / "out", folder)


def test_a_whole_state_dict_gives_the_same_weights_as_its_parts(
    originals: MiniGPTv2Originals, tiny: Path, whole: State, tmp_path: Path
) -> None:
    ln_vision = tmp_path / "ln.pth"
    torch.save({key: value for key, value in whole.items() if key.startswith("ln_vision.")}, ln_vision)
    convert_minigpt_v2(replace(originals, ln_vision=ln_vision), tmp_path / "parts", OPTIONS)
    convert_minigpt_v2(
        MiniGPTv2Originals(tiny / "llama2_tiny", checkpoint=tiny / "weights.safetensors"), tmp_path / "whole", OPTIONS
    )
    for name in ("encoder.safetensors", "adapter.safetensors", "llm/model.safetensors"):
        parts, joined = load_file(tmp_path / "parts" / name), load_file(tmp_path / "whole" / name)
        assert parts.keys() == joined.keys()
        assert all(torch.equal(parts[key], joined[key]) for key in parts)


def test_without_a_file_for_it_ln_vision_changes_nothing(originals: MiniGPTv2Originals, tmp_path: Path) -> None:
    convert_minigpt_v2(originals, tmp_path / "out", OPTIONS)
    encoder = load_file(tmp_path / "out" / "encoder.safetensors")
    assert bool((encoder["ln_vision.weight"] == 1).all())
    assert bool((encoder["ln_vision.bias"] == 0).all())


def test_positions_of_224_pixels_are_written_for_448(
    originals: MiniGPTv2Originals, eva: Path, tiny: Path, tmp_path: Path
) -> None:
    cases = load_file(tiny / "cases.safetensors")
    changed = resaved(eva, pos_embed=cases["pos_embed/checkpoint_224"])
    convert_minigpt_v2(replace(originals, eva=changed), tmp_path / "out", OPTIONS)
    written = load_file(tmp_path / "out" / "encoder.safetensors")["pos_embed"]
    torch.testing.assert_close(written, cases["pos_embed/expected_448"], atol=1e-6, rtol=0)


def test_the_block_after_the_last_and_the_head_are_left_and_nothing_else(
    originals: MiniGPTv2Originals, eva: Path, whole: State
) -> None:
    unread = {"blocks__3__norm1__weight": torch.ones(48), "norm__weight": torch.ones(48), "head__bias": torch.ones(9)}
    assert plan_minigpt_v2(replace(originals, eva=resaved(eva, **unread)), OPTIONS)
    strange = {"blocks__4__norm1__weight": torch.ones(48), "blocks__0__attn__k_bias": torch.ones(48)}
    with pytest.raises(KeyMismatch) as caught:
        plan_minigpt_v2(replace(originals, eva=resaved(eva, **strange)), OPTIONS)
    assert caught.value.left_over == ("blocks.0.attn.k_bias", "blocks.4.norm1.weight")


def test_every_difference_of_the_encoder_is_listed(originals: MiniGPTv2Originals, eva: Path) -> None:
    changed = resaved(eva, cls_token=None, blocks__1__attn__q_bias=torch.ones(7), pos_embed=torch.ones(1, 258, 48))
    with pytest.raises(CheckpointError, match="257 patches make no square"):
        plan_minigpt_v2(replace(originals, eva=changed), OPTIONS)
    changed = resaved(eva, cls_token=None, blocks__1__attn__q_bias=torch.ones(7))
    with pytest.raises(KeyMismatch) as caught:
        plan_minigpt_v2(replace(originals, eva=changed), OPTIONS)
    assert caught.value.missing == ("cls_token",)
    assert caught.value.misshapen == {"blocks.1.attn.q_bias": ((7,), (48,))}


def test_names_of_a_later_peft_are_left_over(originals: MiniGPTv2Originals, tmp_path: Path, tiny: Path) -> None:
    state = torch.load(tiny / "checkpoint_0.pth", weights_only=True)["model"]
    later = {key.replace("lora_A.weight", "lora_A.default.weight"): value for key, value in state.items()}
    torch.save({"model": later}, tmp_path / "later.pth")
    with pytest.raises(CheckpointError, match="holds no LoRA matrices"):
        plan_minigpt_v2(replace(originals, checkpoint=tmp_path / "later.pth"), OPTIONS)


def test_a_key_of_no_part_of_a_whole_state_dict_is_left_over(tiny: Path, whole: State, tmp_path: Path) -> None:
    save_file({**whole, "Qformer.query": torch.ones(2)}, tmp_path / "more.safetensors")
    with pytest.raises(KeyMismatch) as caught:
        plan_minigpt_v2(MiniGPTv2Originals(tiny / "llama2_tiny", checkpoint=tmp_path / "more.safetensors"), OPTIONS)
    assert caught.value.left_over == ("Qformer.query",)


def test_without_a_checkpoint_a_folder_to_train_is_made(originals: MiniGPTv2Originals, tmp_path: Path) -> None:
    made = convert_minigpt_v2(replace(originals, checkpoint=None), tmp_path / "out", OPTIONS)
    assert made.lora is None
    assert load_file(tmp_path / "out" / "adapter.safetensors")["projection.weight"].shape == (64, 192)


def test_a_small_checkpoint_without_the_encoder_is_refused(tiny: Path) -> None:
    with pytest.raises(CheckpointError, match="EVA's file must be named"):
        plan_minigpt_v2(MiniGPTv2Originals(tiny / "llama2_tiny", checkpoint=tiny / "checkpoint_0.pth"), OPTIONS)


def test_the_published_checkpoints_keys_are_all_accounted_for(golden: Path) -> None:
    """By names and shapes alone: no weights of that size are here."""
    full = json.loads((golden / "full-size-keys" / "minigpt_v2_full.json").read_text())["keys"]
    own = {k.removeprefix("visual_encoder."): tuple(v) for k, v in full.items() if k.startswith(("visual_", "ln_"))}
    assert module_shapes(EvaVit(EvaSizes())) == own
