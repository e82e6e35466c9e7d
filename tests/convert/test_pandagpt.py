"""The originals' files become a model folder, or a refusal that lists what is wrong with them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    account,
    adapter_shapes,
    folder_digests,
    load_module,
    read_model_folder,
    renamed,
    verify_files,
)
from pandagpt_core.checkpoints.account import PANDAGPT_DELTA
from pandagpt_core.checkpoints.pandagpt import LoraSpec, ProjectionSpec
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.convert.llm import expected_shapes
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.loading import load_model

State = dict[str, torch.Tensor]
SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)
OPTIONS = PandaGPTOptions(model_id="tiny", sizes=SIZES)
Q_PROJ = "llama_model.base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def encoder(golden: Path) -> State:
    return load_file(golden / "imagebind-tiny" / "weights.safetensors")


@pytest.fixture
def originals(tmp_path: Path, golden: Path, encoder: State) -> PandaGPTOriginals:
    """The tiny originals as their authors published theirs: pickled files and a Vicuna folder."""
    imagebind = tmp_path / "imagebind_tiny.pth"
    torch.save(encoder, imagebind)
    pandagpt = golden / "pandagpt-tiny"
    return PandaGPTOriginals(imagebind, pandagpt / "vicuna_tiny", pandagpt / "pandagpt_ckpt" / "pytorch_model.pt")


def with_delta(originals: PandaGPTOriginals, folder: Path, change: Callable[[State], object]) -> PandaGPTOriginals:
    delta = dict(torch.load(originals.delta, weights_only=True))
    change(delta)
    path = folder / "changed.pt"
    torch.save(delta, path)
    return PandaGPTOriginals(originals.imagebind, originals.llm, path)


def with_encoder(
    originals: PandaGPTOriginals, encoder: State, folder: Path, change: Callable[[State], object]
) -> PandaGPTOriginals:
    changed = dict(encoder)
    change(changed)
    path = folder / "changed.pth"
    torch.save(changed, path)
    return PandaGPTOriginals(path, originals.llm, originals.delta)


def in_shards(source: Path, folder: Path, count: int) -> Path:
    """The Vicuna folder with pickled shards and an index, as the released ones of the time had."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    weights = load_file(source / "model.safetensors")
    weight_map = {}
    for shard in range(count):
        name = f"pytorch_model-{shard + 1:05}-of-{count:05}.bin"
        part = dict(list(weights.items())[shard::count])
        torch.save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_the_originals_become_a_folder_that_loads(
    tmp_path: Path, golden: Path, originals: PandaGPTOriginals, encoder: State
) -> None:
    out = tmp_path / "models" / "tiny"
    convert_pandagpt(originals, out, OPTIONS)
    said = read_model_folder(out)
    verify_files(out, said)
    assert said.files == folder_digests(out)
    assert (said.projection, said.lora) == (
        ProjectionSpec(32, 64),
        LoraSpec(4, 4.0, ("q_proj", "k_proj", "v_proj", "o_proj")),
    )
    model = ImageBind(ImageBindSizes.from_config(said.encoder.sizes), variant=said.encoder.variant)
    load_module(model, out / ENCODER)
    assert all(torch.equal(tensor, encoder[key]) for key, tensor in model.state_dict().items())
    base = load_file(golden / "pandagpt-tiny" / "vicuna_tiny" / "model.safetensors")
    assert all(torch.equal(tensor, base[key]) for key, tensor in load_llama(out / "llm").state_dict().items())
    assert sorted(path.name for path in out.parent.iterdir()) == ["tiny"]


def test_without_a_delta_the_folder_is_one_to_train_and_loads(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    said = convert_pandagpt(PandaGPTOriginals(originals.imagebind, originals.llm), tmp_path / "base", OPTIONS)
    verify_files(tmp_path / "base", said)
    adapter = load_file(tmp_path / "base" / ADAPTER)
    assert said.lora is None
    assert {name: tuple(t.shape) for name, t in adapter.items()} == {
        "projection.weight": (64, 32),
        "projection.bias": (64,),
    }
    assert 0 < float(adapter["projection.weight"].std()) < 32**-0.5
    load_model(tmp_path / "base")


def test_the_adapters_weights_keep_their_values_under_names_of_ours(
    tmp_path: Path, golden: Path, originals: PandaGPTOriginals
) -> None:
    convert_pandagpt(originals, tmp_path / "out", OPTIONS)
    adapter = load_file(tmp_path / "out" / ADAPTER)
    delta = load_file(golden / "pandagpt-tiny" / "delta.safetensors")
    assert len(adapter) == len(delta)
    assert torch.equal(adapter["projection.weight"], delta["llama_proj.weight"])
    ours = "model.layers.0.self_attn.q_proj"
    for half in "AB":
        assert torch.equal(adapter[f"{ours}.lora_{half}.weight"], delta[f"{Q_PROJ}.lora_{half}.default.weight"])


def test_old_position_buffers_are_dropped(tmp_path: Path, golden: Path, originals: PandaGPTOriginals) -> None:
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    assert buffer in load_file(originals.llm / "model.safetensors")
    convert_pandagpt(originals, tmp_path / "out", OPTIONS)
    assert buffer not in load_file(tmp_path / "out" / "llm" / "model.safetensors")


def test_pickled_shards_become_safetensors_shards_with_an_index(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    shards = in_shards(originals.llm, tmp_path / "sharded", 3)
    said = convert_pandagpt(PandaGPTOriginals(originals.imagebind, shards, originals.delta), tmp_path / "out", OPTIONS)
    whole = load_llama(originals.llm).state_dict()
    found = load_llama(tmp_path / "out" / "llm").state_dict()
    assert all(torch.equal(found[key], whole[key]) for key in whole)
    assert "llm/model-00003-of-00003.safetensors" in said.files
    assert "llm/model.safetensors.index.json" in said.files


def test_the_bos_is_the_tokenizer_files_and_the_folder_says_which(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    said = convert_pandagpt(originals, tmp_path / "usual", OPTIONS)
    assert said.bos is not None
    assert (said.bos.id, said.bos.piece, said.bos.source) == (1, "<s>", "special_tokens_map.json")
    odd = in_shards(originals.llm, tmp_path / "odd", 1)
    (odd / "special_tokens_map.json").write_text(json.dumps({"bos_token": "</s>"}))
    said = convert_pandagpt(PandaGPTOriginals(originals.imagebind, odd, originals.delta), tmp_path / "out", OPTIONS)
    assert said.bos is not None
    assert (said.bos.id, said.bos.piece) == (2, "</s>")


def test_a_typo_in_a_key_is_refused_with_both_names(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    good, typo = f"{Q_PROJ}.lora_A.default.weight", f"{Q_PROJ.replace('q_proj', 'q_prj')}.lora_A.default.weight"
    wrong = with_delta(originals, tmp_path, lambda delta: delta.update({typo: delta.pop(good)}))
    with pytest.raises(KeyMismatch) as caught:
        convert_pandagpt(wrong, tmp_path / "out", OPTIONS)
    assert caught.value.missing == ("model.layers.0.self_attn.q_proj.lora_A.weight",)
    assert caught.value.left_over == ("model.layers.0.self_attn.q_prj.lora_A.weight",)
    assert "changed.pt" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_key_too_many_is_refused(tmp_path: Path, originals: PandaGPTOriginals, encoder: State) -> None:
    wrong = with_encoder(
        originals, encoder, tmp_path, lambda state: state.update({"modality_heads.smell": torch.ones(1)})
    )
    with pytest.raises(KeyMismatch) as caught:
        convert_pandagpt(wrong, tmp_path / "out", OPTIONS)
    assert caught.value.left_over == ("modality_heads.smell",)


def test_a_key_too_few_and_a_wrong_shape_are_refused_together(
    tmp_path: Path, originals: PandaGPTOriginals, encoder: State
) -> None:
    head, bias = "modality_heads.audio.2.weight", "modality_trunks.imu.blocks.1.attn.bias_k"

    def change(state: State) -> None:
        del state[bias]
        state[head] = torch.zeros(31, 64)

    with pytest.raises(KeyMismatch) as caught:
        convert_pandagpt(with_encoder(originals, encoder, tmp_path, change), tmp_path / "out", OPTIONS)
    assert caught.value.missing == (bias,)
    assert caught.value.misshapen == {head: ((31, 64), (32, 64))}


def test_two_keys_that_become_one_are_refused(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    wrong = with_delta(originals, tmp_path, lambda delta: delta.update({"projection.bias": torch.zeros(64)}))
    with pytest.raises(KeyMismatch, match=r"left over: projection\.bias .which doubles"):
        convert_pandagpt(wrong, tmp_path / "out", OPTIONS)


def test_a_key_in_two_shards_is_refused(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    shards = in_shards(originals.llm, tmp_path / "sharded", 2)
    first, second = (shards / f"pytorch_model-0000{index}-of-00002.bin" for index in (1, 2))
    doubled = torch.load(second, weights_only=True) | dict([next(iter(torch.load(first, weights_only=True).items()))])
    torch.save(doubled, second)
    with pytest.raises(KeyMismatch, match="a second time"):
        convert_pandagpt(PandaGPTOriginals(originals.imagebind, shards, originals.delta), tmp_path / "out", OPTIONS)


def test_an_encoder_of_other_sizes_is_refused_in_a_few_words(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    with pytest.raises(CheckpointError, match=r"vision is \(64,\) wide, expected 1280"):
        convert_pandagpt(originals, tmp_path / "out", PandaGPTOptions(model_id="tiny"))


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    trace = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return os.mkdir, (str(trace),)

    bomb = tmp_path / "bomb.pt"
    torch.save({"llama_proj.weight": Bomb()}, bomb)
    with pytest.raises(CheckpointError, match="tensors only"):
        convert_pandagpt(PandaGPTOriginals(originals.imagebind, originals.llm, bomb), tmp_path / "out", OPTIONS)
    assert not trace.exists()


@pytest.mark.parametrize(("length", "said"), [(4096, "2048 positions"), (-1, "max_model_len")])
def test_a_context_that_the_model_has_not_is_refused_before_anything_is_written(
    tmp_path: Path, originals: PandaGPTOriginals, length: int, said: str
) -> None:
    written: list[int] = []
    with pytest.raises(CheckpointError, match=said):
        convert_pandagpt(
            originals,
            tmp_path / "out",
            PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=length),
            lambda done, _: written.append(done),
        )
    assert written == []


def test_a_language_model_without_a_tokenizer_is_refused(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    bare = in_shards(originals.llm, tmp_path / "bare", 1)
    (bare / "tokenizer.model").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        convert_pandagpt(PandaGPTOriginals(originals.imagebind, bare, originals.delta), tmp_path / "out", OPTIONS)


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("kept")
    with pytest.raises(CheckpointError, match="never overwritten"):
        convert_pandagpt(originals, out, OPTIONS)
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_conversion_that_breaks_off_leaves_nothing(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    def give_up(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    place = tmp_path / "models"
    with pytest.raises(KeyboardInterrupt):
        convert_pandagpt(originals, place / "out", OPTIONS, give_up)
    assert list(place.iterdir()) == []


def test_progress_ends_at_the_whole_and_half_precision_is_half_the_bytes(
    tmp_path: Path, originals: PandaGPTOriginals
) -> None:
    seen: list[tuple[int, int]] = []
    convert_pandagpt(originals, tmp_path / "whole", OPTIONS, lambda done, total: seen.append((done, total)))
    half = PandaGPTOptions(model_id="tiny", sizes=SIZES, dtype=torch.float16)
    convert_pandagpt(originals, tmp_path / "half", half, lambda done, total: seen.append((done, total)))
    assert [done for done, total in seen if done == total] == sorted({total for _, total in seen}, reverse=True)
    assert load_file(tmp_path / "half" / "llm" / "model.safetensors")["lm_head.weight"].dtype == torch.float16
    scales = load_file(tmp_path / "half" / ENCODER)
    assert scales["modality_postprocessors.text.1.log_logit_scale"].dtype == torch.float32
    load_module(ImageBind(SIZES, variant="pandagpt"), tmp_path / "half" / ENCODER)


@pytest.mark.parametrize(
    ("table", "width", "layers", "heads", "ffn"),
    [("pandagpt_delta_7b", 4096, 32, 32, 11008), ("pandagpt_delta_13b", 5120, 40, 40, 13824)],
)
def test_the_released_deltas_keys_are_accepted(
    golden: Path, table: str, width: int, layers: int, heads: int, ffn: int
) -> None:
    keys = json.loads((golden / "full-size-keys" / f"{table}.json").read_text())["keys"]
    names = renamed(keys, PANDAGPT_DELTA)
    found = {names[key]: tuple(shape) for key, shape in keys.items()}
    llama = LlamaConfig(32000, width, layers, heads, heads, width // heads, ffn)
    lora = LoraSpec(32, 32.0, ("q_proj", "k_proj", "v_proj", "o_proj"))
    account(table, adapter_shapes(ProjectionSpec(1024, width), lora, expected_shapes(llama)), found)
    found.pop("projection.bias")
    with pytest.raises(KeyMismatch):
        account(table, adapter_shapes(ProjectionSpec(1024, width), lora, expected_shapes(llama)), found)


CONVERT = """
import re, sys
from pathlib import Path
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import ImageBindSizes
import json
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
imagebind, llm, delta, out, sizes = sys.argv[1:]
options = PandaGPTOptions(model_id="big", sizes=ImageBindSizes.from_config(json.loads(sizes)))
before = peak()
convert_pandagpt(PandaGPTOriginals(Path(imagebind), Path(llm), Path(delta)), Path(out), options)
print(peak() - before)
"""


def big_llm(source: Path, folder: Path, layers: int) -> int:
    """A LLaMA folder of `layers` shards of 32 MB each in half precision, with the tokenizer of `source`; its bytes."""
    folder.mkdir()
    for name in ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    config = json.loads((source / "config.json").read_text())
    config |= {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": layers, "num_attention_heads": 8}
    (folder / "config.json").write_text(json.dumps(config))
    shards: dict[str, State] = {}
    for key, shape in expected_shapes(LlamaConfig.from_hf(config)).items():
        name = key.split(".")[2] if ".layers." in key else "0"
        shards.setdefault(f"model-{name}.safetensors", {})[key] = torch.ones(shape, dtype=torch.float16)
    for name, shard in shards.items():
        save_file(shard, folder / name)
    weight_map = {key: name for name, shard in shards.items() for key in shard}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def big_delta(path: Path, layers: int) -> None:
    delta = {"llama_proj.weight": torch.ones(1024, 32), "llama_proj.bias": torch.ones(1024)}
    for layer in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            prefix = f"llama_model.base_model.model.model.layers.{layer}.self_attn.{name}"
            delta[f"{prefix}.lora_A.default.weight"] = torch.ones(4, 1024)
            delta[f"{prefix}.lora_B.default.weight"] = torch.ones(1024, 4)
    torch.save(delta, path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_a_model_is_converted_in_far_less_memory_than_it_has(tmp_path: Path, originals: PandaGPTOriginals) -> None:
    layers = 9
    size = big_llm(originals.llm, tmp_path / "big", layers)
    big_delta(tmp_path / "big.pt", layers)
    arguments = [originals.imagebind, tmp_path / "big", tmp_path / "big.pt", tmp_path / "out"]
    command = [sys.executable, "-c", CONVERT, *map(str, arguments), json.dumps(SIZES.to_config())]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert size > 280e6
    assert 0 < int(finished.stdout) < size / 2
