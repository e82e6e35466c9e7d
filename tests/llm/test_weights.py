"""Loading Hugging Face folders: everything accounted for, or an error that lists what is not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.llm.config import ATTENTION, FEED_FORWARD, LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.rope import Rope, RopeScaling
from pandagpt_core.llm.weights import load_llama

MakeLlama = Callable[..., Llama]


def described(config: LlamaConfig, **changes: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "intermediate_size": config.ffn,
        "rms_norm_eps": config.norm_eps,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": config.tied,
    } | changes


def write(folder: Path, config: LlamaConfig, weights: dict[str, torch.Tensor], **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(described(config, **changes)))
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / "model.safetensors")
    return folder


def test_a_folder_gives_back_the_model(make_llama: MakeLlama, tmp_path: Path) -> None:
    llama = make_llama()
    loaded = load_llama(write(tmp_path, llama.config, llama.state_dict()))
    assert loaded.config == llama.config
    assert all(torch.equal(tensor, llama.state_dict()[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("with_head", [False, True])
def test_a_tied_folder_loads_with_and_without_its_head(
    make_llama: MakeLlama, tiny_config: LlamaConfig, tmp_path: Path, with_head: bool
) -> None:
    llama = make_llama(replace(tiny_config, tied=True))
    weights = dict(llama.state_dict())
    if not with_head:
        del weights["lm_head.weight"]
    loaded = load_llama(write(tmp_path, llama.config, weights))
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_shards_are_read_through_their_index(make_llama: MakeLlama, tmp_path: Path) -> None:
    llama = make_llama()
    write(tmp_path, llama.config, {})
    (tmp_path / "model.safetensors").unlink()
    names = list(llama.state_dict())
    index = {name: f"part-{n % 2}.safetensors" for n, name in enumerate(names)}
    for part in set(index.values()):
        save_file({name: llama.state_dict()[name] for name in names if index[name] == part}, tmp_path / part)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    loaded = load_llama(tmp_path)
    assert all(torch.equal(tensor, llama.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_a_shard_outside_of_the_folder_is_refused(make_llama: MakeLlama, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    llama = make_llama()
    folder = write(tmp_path / "model", llama.config, llama.state_dict())
    (tmp_path / "else.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    index = {"weight_map": dict.fromkeys(llama.state_dict(), "../else.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"no else\.safetensors"):
        load_llama(folder)


def test_old_rotary_buffers_are_left_out(make_llama: MakeLlama, tmp_path: Path) -> None:
    llama = make_llama()
    old = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(4) for n in range(2)}
    assert load_llama(write(tmp_path, llama.config, llama.state_dict() | old)).config == llama.config


def test_every_key_that_does_not_fit_is_listed(make_llama: MakeLlama, tmp_path: Path) -> None:
    llama = make_llama()
    weights = dict(llama.state_dict())
    del weights["model.norm.weight"]
    weights["model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.ones(1)
    weights["lm_head.weight"] = torch.ones(95, 32)
    with pytest.raises(KeyMismatch) as caught:
        load_llama(write(tmp_path, llama.config, weights))
    assert caught.value.missing == ("model.norm.weight",)
    assert caught.value.left_over == ("model.layers.0.self_attn.q_proj.lora_A.weight",)
    assert caught.value.misshapen == {"lm_head.weight": ((95, 32), (96, 32))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral"}, "model_type must be 'llama' or 'qwen2' or 'qwen3'"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "use_sliding_window must be False"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rotary scaling 'linear'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}, "rotary scaling has no 'factor'"),
        ({"num_key_value_heads": 3}, "4 attention heads do not group over 3"),
    ],
)
def test_what_is_not_this_architecture_is_refused(
    make_llama: MakeLlama, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    llama = make_llama()
    with pytest.raises(CheckpointError, match=message):
        load_llama(write(tmp_path, llama.config, llama.state_dict(), **change))


@pytest.mark.parametrize(
    ("change", "biases"),
    [
        ({"attention_bias": True}, ATTENTION),
        ({"mlp_bias": True}, FEED_FORWARD),
        ({"model_type": "qwen2"}, ("q_proj", "k_proj", "v_proj")),
    ],
)
def test_a_config_names_the_layers_that_have_biases(
    make_llama: MakeLlama, tiny_config: LlamaConfig, tmp_path: Path, change: dict[str, Any], biases: tuple[str, ...]
) -> None:
    llama = make_llama(replace(tiny_config, biases=frozenset(biases)))
    folder = write(tmp_path, llama.config, llama.state_dict(), **change)
    assert load_llama(folder).config == llama.config
    lacking = {name: tensor for name, tensor in llama.state_dict().items() if not name.endswith(".bias")}
    with pytest.raises(KeyMismatch):
        load_llama(write(tmp_path, llama.config, lacking, **change))


def test_the_rotary_base_is_read_from_old_and_new_configs(tiny_config: LlamaConfig) -> None:
    old = LlamaConfig.from_hf(described(tiny_config, rope_theta=7.0, rope_scaling=None))
    new = LlamaConfig.from_hf(described(tiny_config, rope_parameters={"rope_type": "default", "rope_theta": 7.0}))
    assert old.rope == new.rope == Rope(7.0)


def test_a_written_config_is_read_back_the_same_by_us_and_by_transformers() -> None:
    config = LlamaConfig(
        vocab=11, width=8, layers=2, heads=4, kv_heads=2, head_dim=4, ffn=12, norm_eps=1e-5, rope=Rope(7.0), tied=True
    )
    written = json.loads(json.dumps(config.to_hf("bfloat16")))
    assert LlamaConfig.from_hf(written) == config
    read = transformers.LlamaConfig(**written)
    assert LlamaConfig.from_hf(read.to_dict()) == config
    assert read.to_dict()["dtype"] in ("bfloat16", torch.bfloat16)


@pytest.mark.parametrize("changes", [{"head_norms": True}, {"rope": Rope(5e5, RopeScaling(8.0, 1.0, 4.0, 32))}])
def test_what_other_families_add_is_read_back_by_us_and_by_transformers(
    make_llama: MakeLlama, tiny_config: LlamaConfig, changes: dict[str, Any]
) -> None:
    llama = make_llama(replace(tiny_config, **changes))
    written = json.loads(json.dumps(llama.config.to_hf("float32")))
    assert LlamaConfig.from_hf(written) == llama.config
    peer = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**written))
    peer.load_state_dict(llama.state_dict())
    ids = torch.randint(0, 96, (1, 100), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(llama(llama.embed(ids)), peer.eval()(ids).logits, atol=1e-4, rtol=1e-4)


def test_missing_files_and_fields_are_named(tmp_path: Path, tiny_config: LlamaConfig) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_llama(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no 'vocab_size'"):
        load_llama(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(described(tiny_config)))
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_llama(tmp_path)
