"""ImageBind-LLM files into a model folder: every key accounted for, old and trainers' files read, cache checked."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import account, lora_shapes, read_layout, verify_files
from pandagpt_core.checkpoints.imagebind_llm import ADAPTED, BindSpec, bind_shapes, tuned_shapes
from pandagpt_core.checkpoints.pandagpt import LoraSpec
from pandagpt_core.convert.imagebind_llm import (
    ImageBindLLMOptions,
    ImageBindLLMOriginals,
    adapter_name,
    convert_imagebind_llm,
    plan_imagebind_llm,
)
from pandagpt_core.convert.llm import expected_shapes
from pandagpt_core.convert.meta_llama import base_name, find_llama, turned
from pandagpt_core.convert.parts import Part
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.training.tune.bind_model import build_bind
from tests.parity.bind_tiny import SIZES, convert, originals

LLAMA_7B = LlamaConfig(
    vocab=32000, width=4096, layers=32, heads=32, kv_heads=32, head_dim=128, ffn=11008, norm_eps=1e-6
)
OPTIONS = ImageBindLLMOptions("tiny", SIZES)


@pytest.fixture
def files(golden: Path, tmp_path: Path):
    return originals(golden, tmp_path)


@pytest.fixture
def adapter(golden: Path) -> dict[str, torch.Tensor]:
    return torch.load(golden / "imagebind-llm-tiny" / "7B.pth", weights_only=True)["model"]


def with_adapter(files, tmp_path: Path, state: dict[str, torch.Tensor], **beside: object):
    path = tmp_path / "other.pth"
    torch.save({"model": state, **beside}, path)
    return dataclasses.replace(files, adapter=path)


def test_a_folder_is_made_with_its_cache_and_holds_what_its_digests_say(golden: Path, tmp_path: Path) -> None:
    path, folder = convert(golden, tmp_path)
    verify_files(path, folder)
    assert (folder.system, folder.max_model_len, folder.bind) == ("imagebind-llm", 2048, BindSpec(32, 256, 2))
    assert folder.cache is not None
    assert (folder.cache.rows, folder.cache.size, folder.cache.temperature, folder.cache.weight) == (64, 10, 20, 0.5)
    vectors = load_file(golden / "imagebind-llm-tiny" / "knn_vectors.safetensors")["vectors"]
    assert torch.equal(load_file(path / "cache.safetensors")["vectors"], vectors)


def test_the_full_size_files_have_exactly_the_keys_that_are_expected(golden: Path) -> None:
    def released(name: str) -> dict[str, tuple[int, ...]]:
        table = json.loads((golden / "full-size-keys" / f"{name}.json").read_text())["keys"]
        return {key: tuple(shape) for key, shape in table.items()}

    base = {base_name(key): shape for key, shape in released("llama_7b_meta").items()}
    account("base", expected_shapes(LLAMA_7B), {key: shape for key, shape in base.items() if key is not None})
    expected = bind_shapes(BindSpec(1024, 16384, 32), LLAMA_7B) | tuned_shapes(LLAMA_7B)
    expected |= lora_shapes(LoraSpec(16, 16.0, ADAPTED), expected_shapes(LLAMA_7B))
    found = {adapter_name(key): shape for key, shape in released("imagebind_llm_7b_adapter").items()}
    flat = {key: (shape[1],) if key.endswith(".gate") else shape for key, shape in found.items() if key is not None}
    account("7B.pth", expected, flat)


def test_a_key_that_is_missing_or_left_over_is_named_and_nothing_is_written(files, adapter, tmp_path: Path) -> None:
    state = dict(adapter)
    del state["llama.layers.1.attention.wo.bias"]
    state["llama.layers.1.attention.wk.bias"] = torch.zeros(64)
    with pytest.raises(KeyMismatch) as refused:
        convert_imagebind_llm(with_adapter(files, tmp_path, state), tmp_path / "out", OPTIONS)
    assert refused.value.missing == ("model.layers.1.self_attn.o_proj.bias",)
    assert refused.value.left_over == ("model.layers.1.self_attn.k_proj.bias",)
    assert not list(tmp_path.glob("*out*"))


def test_files_with_the_old_prefix_give_the_same_adapter(files, adapter, tmp_path: Path) -> None:
    old = {key.replace("llama.", "llma.", 1): tensor for key, tensor in adapter.items()}
    plan = plan_imagebind_llm(with_adapter(files, tmp_path, old), OPTIONS)
    assert plan.adapter.shapes() == plan_imagebind_llm(files, OPTIONS).adapter.shapes()


def test_a_trainers_file_of_the_whole_model_gives_the_same_adapter(golden: Path, files, tmp_path: Path) -> None:
    whole = load_file(golden / "imagebind-llm-tiny" / "weights.safetensors")
    whole |= {
        f"image_bind.{key}": tensor
        for key, tensor in load_file(golden / "imagebind-tiny" / "weights.safetensors").items()
    }
    other = with_adapter(files, tmp_path, whole, config={"query_layer": 2})
    for name, wanted in (("as published", files), ("whole", other)):
        convert_imagebind_llm(wanted, tmp_path / name, OPTIONS)
    first, second = (load_file(tmp_path / name / "adapter.safetensors") for name in ("as published", "whole"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_file_of_the_first_phase_gets_updates_that_change_nothing(files, adapter, tmp_path: Path) -> None:
    second = re.compile(r"llama\..*(\.bias|lora_w\w+_l[12]\.weight)")
    first = {key: tensor for key, tensor in adapter.items() if not second.fullmatch(key)}
    assert len(first) < len(adapter)
    made = convert_imagebind_llm(with_adapter(files, tmp_path, first), tmp_path / "first", OPTIONS)
    convert_imagebind_llm(files, tmp_path / "both", OPTIONS)
    one, other = (load_file(tmp_path / name / "adapter.safetensors") for name in ("first", "both"))
    assert one.keys() == other.keys()
    assert made.biases
    assert made.lora is not None
    assert made.lora.r == 16
    for key, tensor in one.items():
        if key.startswith("model.") and key.endswith((".bias", ".lora_B.weight")):
            assert not tensor.any()
        elif ".lora_" not in key:
            assert torch.equal(tensor, other[key])
    tuned = build_bind(tmp_path / "first", made, "finetune", made.bind.features, 0.0)
    assert any(parameter.requires_grad for parameter in tuned.parameters())


def test_a_file_with_biases_and_without_lora_is_refused(files, adapter, tmp_path: Path) -> None:
    state = {key: tensor for key, tensor in adapter.items() if "lora_" not in key}
    with pytest.raises(CheckpointError, match="no LoRA matrices"):
        plan_imagebind_llm(with_adapter(files, tmp_path, state), OPTIONS)


def test_queries_and_keys_are_put_in_the_order_that_pairs_halves() -> None:
    config = LlamaConfig(vocab=8, width=8, layers=1, heads=2, kv_heads=1, head_dim=4, ffn=8)
    rows = torch.arange(8.0)[:, None].expand(8, 8)
    names = [f"model.layers.0.self_attn.{name}_proj.weight" for name in "qkv"]
    part = turned(Part("", Path(), {name: name for name in names}, dict.fromkeys(names, rows)), config)
    query, key, value = (part.tensor(name, lambda _: rows)[:, 0].tolist() for name in names)
    assert query == [0, 2, 1, 3, 4, 6, 5, 7]
    assert key == [0, 2, 4, 6, 1, 3, 5, 7]
    assert value == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_cache_of_another_kind_or_width_is_refused(files, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    wrong = {
        "l2.index": faiss.IndexFlatL2(32),
        "wide.index": faiss.IndexFlatIP(16),
        "empty.index": faiss.IndexFlatIP(32),
    }
    wrong["wide.index"].add(torch.zeros(3, 16).numpy())
    for name, words in (("l2.index", "inner products"), ("wide.index", "16"), ("empty.index", "0 features")):
        faiss.write_index(wrong[name], str(tmp_path / name))
        with pytest.raises(CheckpointError, match=words):
            plan_imagebind_llm(dataclasses.replace(files, cache=tmp_path / name), OPTIONS)
    (tmp_path / "junk.index").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="no faiss index"):
        plan_imagebind_llm(dataclasses.replace(files, cache=tmp_path / "junk.index"), OPTIONS)


def test_a_llama_folder_without_its_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"consolidated\.00\.pth"):
        find_llama(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "consolidated.00.pth")
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        find_llama(tmp_path)


def test_weights_can_be_written_in_half_precision(files, tmp_path: Path) -> None:
    convert_imagebind_llm(files, tmp_path / "half", dataclasses.replace(OPTIONS, dtype=torch.float16))
    assert all(value.dtype == torch.float16 for value in load_file(tmp_path / "half/adapter.safetensors").values())
    assert json.loads((tmp_path / "half/llm/config.json").read_text())["torch_dtype"] == "float16"


def test_a_feature_of_the_cache_that_is_not_of_length_one_is_named(files, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    index, rows = faiss.IndexFlatIP(32), np.eye(32, dtype=np.float32)
    rows[3, 3] = np.nan
    index.add(rows)
    faiss.write_index(index, str(tmp_path / "nan.index"))
    with pytest.raises(CheckpointError, match="feature 3 of the cache has length nan"):
        convert_imagebind_llm(dataclasses.replace(files, cache=tmp_path / "nan.index"), tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


# Pages mapped from a file may leave the memory at any time and are not counted: the process's own pages are.
CONVERT = """
import json, re, sys, threading
from pathlib import Path
from pandagpt_core.convert.imagebind_llm import ImageBindLLMOptions, ImageBindLLMOriginals, convert_imagebind_llm
from pandagpt_core.encoders.sizes import ImageBindSizes
import faiss
def own():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
*paths, out, sizes = sys.argv[1:]
options = ImageBindLLMOptions("big", ImageBindSizes.from_config(json.loads(sizes)))
before, seen, ended = own(), [own()], threading.Event()
def look():
    while not ended.wait(0.002):
        seen.append(own())
watcher = threading.Thread(target=look)
watcher.start()
convert_imagebind_llm(ImageBindLLMOriginals(*map(Path, paths)), Path(out), options)
ended.set()
watcher.join()
print(max(seen) - before)
"""
WIDER = {64: 1024, 192: 4096}  # the language model's width and its feed-forward's


def wider(state: dict[str, torch.Tensor], layers: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Tensors of the same names at larger sizes, their first layer for each of `layers`."""

    def grown(key: str, shape: torch.Size) -> torch.Tensor:
        wanted = (1, 8, 1, 1) if key.endswith(".gate") else tuple(WIDER.get(size, size) for size in shape)
        return torch.full(wanted, 0.5, dtype=dtype)

    names = {key.replace("layers.0.", f"layers.{at}."): key for key in state for at in range(layers)}
    return {name: grown(key, state[key].shape) for name, key in names.items()}


def big_originals(golden: Path, out: Path, layers: int, rows: int):
    """Files as the authors publish them, of a language model of some 27 MB a layer and a cache of `rows` features."""
    faiss, tiny = pytest.importorskip("faiss"), golden / "imagebind-llm-tiny"
    small = originals(golden, out)
    place = out / "llama" / "7B"
    place.mkdir(parents=True)
    params = json.loads((tiny / "llama" / "7B" / "params.json").read_text())
    (place / "params.json").write_text(json.dumps(params | {"dim": 1024, "n_layers": layers, "n_heads": 8}))
    (place.parent / "tokenizer.model").write_bytes((tiny / "llama" / "tokenizer.model").read_bytes())
    base = torch.load(tiny / "llama" / "7B" / "consolidated.00.pth", weights_only=True)
    torch.save(wider(first_layer(base), layers, torch.float16), place / "consolidated.00.pth")
    adapter = torch.load(small.adapter, weights_only=True)["model"]
    torch.save({"model": wider(first_layer(adapter), layers, torch.float32)}, out / "big.pth")
    index = faiss.IndexFlatIP(32)
    unit = np.eye(32, dtype=np.float32)
    for start in range(0, rows, 32_000):
        index.add(np.tile(unit, (min(32_000, rows - start) // 32, 1)))
    faiss.write_index(index, str(out / "big.index"))
    return ImageBindLLMOriginals(small.imagebind, place.parent, out / "big.pth", out / "big.index")


def first_layer(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in state.items() if "layers." not in key or "layers.0." in key}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from Linux's /proc")
def test_a_model_and_its_cache_are_converted_in_far_less_memory_than_they_have(golden: Path, tmp_path: Path) -> None:
    rows = 1_000_000
    files = big_originals(golden, tmp_path, 9, rows)
    paths = [files.imagebind, files.llama, files.adapter, files.cache, tmp_path / "out"]
    command = [sys.executable, "-c", CONVERT, *map(str, paths), json.dumps(SIZES.to_config())]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert finished.returncode == 0, finished.stderr
    size = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*"))
    assert size > 440e6
    assert 0 < int(finished.stdout) < size / 4, "neither the language model nor the cache is held as a whole"
    assert read_layout(tmp_path / "out" / "cache.safetensors")["vectors"].shape == (rows, 32)
