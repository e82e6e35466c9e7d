"""Weights are written in a stream, read by a strict account, and never through code in a pickle."""

import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pandagpt_core.checkpoints import load_module, read_pickled, read_shapes, read_tensors, write_safetensors
from pandagpt_core.errors import CheckpointError, KeyMismatch

MIXED = {
    "odd": torch.arange(3, dtype=torch.float16),
    "scalar": torch.tensor(4.7),
    "matrix": torch.randn(3, 5).T,  # not contiguous
    "brain": torch.randn(4).bfloat16(),
    "ids": torch.arange(4),
    "flag": torch.tensor([True, False]),
}


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    path = tmp_path / "linear.safetensors"
    save_file({"weight": torch.randn(2, 3), "bias": torch.randn(2)}, path)
    return path


def on_meta() -> nn.Linear:
    with torch.device("meta"):
        return nn.Linear(3, 2)


def test_a_written_file_reads_back_by_the_formats_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "mixed.safetensors"
    layout = {key: tensor.to("meta") for key, tensor in MIXED.items()}
    digest = write_safetensors(path, layout, MIXED.__getitem__)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    found = load_file(path)
    assert found.keys() == MIXED.keys()
    for key, tensor in MIXED.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)
    assert read_shapes(path) == {key: tuple(tensor.shape) for key, tensor in MIXED.items()}


def test_tensors_are_fetched_one_at_a_time_and_never_over_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    asked: list[str] = []

    def fetch(key: str) -> torch.Tensor:
        asked.append(key)
        return MIXED[key]

    write_safetensors(path, MIXED, fetch)
    assert sorted(asked) == sorted(MIXED)
    with pytest.raises(FileExistsError):
        write_safetensors(path, MIXED, fetch)


def test_floats_are_cast_but_scalars_and_integers_are_not(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, MIXED, MIXED.__getitem__)
    types = {key: tensor.dtype for key, tensor in read_tensors(path, dtype=torch.bfloat16)}
    assert types["matrix"] == types["odd"] == torch.bfloat16
    assert types["scalar"] == torch.float32
    assert types["ids"] == torch.int64


def test_a_module_on_the_meta_device_gets_the_files_tensors(linear: Path) -> None:
    module = on_meta()
    load_module(module, linear, dtype=torch.float64)
    assert torch.equal(module.weight, load_file(linear)["weight"].double())
    assert not module.weight.requires_grad


def test_a_file_that_does_not_fit_is_refused_and_the_module_untouched(linear: Path) -> None:
    with torch.device("meta"):
        module = nn.Linear(4, 2, bias=False)
    with pytest.raises(KeyMismatch) as caught:
        load_module(module, linear)
    assert caught.value.left_over == ("bias",)
    assert caught.value.misshapen == {"weight": ((2, 3), (2, 4))}
    assert module.weight.is_meta


def test_keys_that_are_said_to_be_unused_may_be_left(linear: Path) -> None:
    with torch.device("meta"):
        module = nn.Linear(3, 2, bias=False)
    load_module(module, linear, unused=lambda key: key == "bias")
    assert torch.equal(module.weight, load_file(linear)["weight"])


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not weights")
    for wrong in (path, tmp_path / "absent.safetensors"):
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            read_shapes(wrong)


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_of_both_pickled_formats_are_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pt"
    held = OrderedDict(a=nn.Parameter(torch.randn(3)), b=torch.tensor(1.0))
    torch.save(held, path, _use_new_zipfile_serialization=zipped)
    found = read_pickled(path)
    assert torch.equal(found["a"], held["a"])
    assert not found["a"].requires_grad


@pytest.mark.parametrize("held", [[1, 2], {"a": 1}, {1: torch.ones(1)}])
def test_pickles_of_other_things_are_refused(tmp_path: Path, held: object) -> None:
    path = tmp_path / "x.pt"
    torch.save(held, path)
    with pytest.raises(CheckpointError, match="something else than a state dict"):
        read_pickled(path)


def test_a_torn_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.randn(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="tensors only"):
        read_pickled(path)
