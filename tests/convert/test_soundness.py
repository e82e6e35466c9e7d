"""Files of weights that are not what they should be are refused in one sentence with the file and the key."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pandagpt_core.checkpoints.pickled import read_pickled
from pandagpt_core.convert.llm import plan_llm, published_shards, read_bos
from pandagpt_core.convert.parts import plan_part, write_part
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.tokenizers.special_tokens import read_json
from pandagpt_core.llm.weights import read_config


def convert(folder: Path, tensor: torch.Tensor, dtype: torch.dtype | None = None) -> None:
    save_file({"layer.weight": tensor}, folder / "in.safetensors")
    (folder / "out").mkdir(exist_ok=True)
    write_part(
        folder / "out", plan_part("w.safetensors", folder / "in.safetensors", lambda key: key), dtype, lambda _: None
    )


@pytest.mark.parametrize(
    ("tensor", "dtype", "words"),
    [
        (torch.tensor([1.0, float("nan")]), None, "in.safetensors: layer.weight holds NaN or infinity"),
        (torch.tensor([1.0, float("inf")]), None, "in.safetensors: layer.weight holds NaN or infinity"),
        (torch.tensor([1, 2]), None, "in.safetensors: layer.weight holds int64"),
        (torch.tensor([1e30]), torch.float16, "in.safetensors: layer.weight holds numbers that float16 cannot"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(
    tmp_path: Path, tensor: torch.Tensor, dtype: torch.dtype | None, words: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        convert(tmp_path, tensor, dtype)
    assert caught.value.message.startswith(words)
    assert "\n" not in caught.value.message


def lfs(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def page(path: Path) -> None:
    path.write_text("<!doctype html><title>404</title>")


def damaged(path: Path) -> None:
    torch.save({"a": torch.arange(4096.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(4096.0).numpy().tobytes()[:4096]) + 400] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("make", "words"), [(lfs, "git-lfs pointer"), (page, "a web page"), (damaged, "the checksum of its entry")]
)
def test_a_file_that_is_not_what_was_published_is_refused(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    make(tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=f"model.pth is .*{words}"):
        plan_part("x", tmp_path / "model.pth", lambda key: key)


def test_advice_to_run_a_files_program_never_reaches_the_user(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "args": zipfile.ZipInfo("x")}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError) as caught:
        read_pickled(tmp_path / "model.pth")
    assert "weights_only" not in caught.value.message
    assert "never loaded" in caught.value.message


def test_an_unapplied_delta_is_refused(tmp_path: Path, golden: Path) -> None:
    source = golden / "pandagpt-tiny" / "vicuna_tiny"
    config = read_config(source)
    from safetensors.torch import load_file

    weights = {key: tensor * 1e-3 for key, tensor in load_file(source / "model.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="this is a delta"):
        plan_llm(tmp_path, config)


@pytest.mark.parametrize(
    ("text", "words"),
    [("{\n 'a': 1}", "is no JSON: line 2, column 2"), ("[]", "no JSON object"), ("\xff", "is no JSON")],
)
def test_a_text_file_that_does_not_parse_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=words):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("name", ["config.json", "special_tokens_map.json", "tokenizer_config.json", "tokenizer.model"])
@pytest.mark.parametrize(
    ("make", "words"), [(lfs, "is a git-lfs pointer"), (lambda path: path.write_bytes(b"{abc" * 99), "is no ")]
)
def test_every_text_and_vocabulary_of_a_language_model_is_looked_at(
    tmp_path: Path, golden: Path, name: str, make: Callable[[Path], None], words: str
) -> None:
    source = shutil.copytree(golden / "pandagpt-tiny" / "vicuna_tiny", tmp_path / "llm")
    make(source / name)
    with pytest.raises(CheckpointError, match=f"^{name} {words}"):
        read_bos(source) if name != "config.json" else plan_llm(source, read_config(source))


@pytest.mark.parametrize("text", ['{"added_tokens": []}', '{"model": {"type": "none"}}', "{}"])
def test_a_vocabulary_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"^tokenizer.json is no vocabulary"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_names_no_files_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"^model.safetensors.index.json names no files"):
        published_shards(tmp_path)


def test_hundreds_of_keys_become_a_few_and_a_count() -> None:
    error = KeyMismatch("model.bin", missing=[f"k{at}" for at in range(300)], left_over=["x"])
    assert error.message.splitlines()[-2:] == ["  missing: 292 more", "  left over: x"]
    assert len(error.missing) == 300
