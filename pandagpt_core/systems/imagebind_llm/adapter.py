"""The weights trained beside the base: loaded, accounted for, and put into the language model before it is served."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pandagpt_core.checkpoints import ADAPTER, ImageBindLLMFolder, account, lora_shapes, module_shapes, read_shapes
from pandagpt_core.checkpoints.imagebind_llm import BIASED, bind_shapes, gate_name, tuned_shapes
from pandagpt_core.checkpoints.weights import read_tensors
from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.llama import Layer, Llama, LlamaAttention
from pandagpt_core.llm.lora import merge_lora
from pandagpt_core.systems.imagebind_llm.bind_network import BindNetwork
from pandagpt_core.systems.imagebind_llm.prefix_adapter import LayerMaps, PrefixAdapter, to_heads

LORA = (".lora_A.weight", ".lora_B.weight")


@dataclass(frozen=True, slots=True)
class Bridge:
    """From a feature [E] of the shared space to the engine's layer bias [L, D]."""

    network: BindNetwork
    maps: LayerMaps

    def __call__(self, feature: Tensor) -> Tensor:
        bias: Tensor = self.maps(self.network(feature))
        return bias


def load_bridge(path: Path, folder: ImageBindLLMFolder, llm: Llama, encoder_dim: int) -> Bridge:
    """Tune `llm`, which must not be served yet, and give the bridge, float32, on the CPU.

    Every key is accounted for. Raises KeyMismatch, and CheckpointError where the sizes do not meet.
    """
    tensors = read_adapter(path, folder, llm, encoder_dim)
    adapter, layers = prefix_adapter(tensors, folder, llm), _last_layers(llm, folder.bind.layers)
    heads, kv_heads = llm.config.heads, llm.config.kv_heads
    stored = [_attention(layer).v_proj.weight.detach() for layer in layers]  # before LoRA, as in training
    values = [to_heads(weight.T, heads, kv_heads).T for weight in stored]
    tune(llm, folder, tensors)
    outputs = [_attention(layer).o_proj.weight.detach() for layer in layers]
    maps = LayerMaps.folded(adapter, values, outputs, llm.config.layers, torch.float32)
    return Bridge(bind_network(tensors, folder, llm.config.width), maps)


def read_adapter(path: Path, folder: ImageBindLLMFolder, llm: Llama, encoder_dim: int) -> dict[str, Tensor]:
    """All tensors of adapter.safetensors, float32, after a strict account."""
    bind = folder.bind
    if bind.features != encoder_dim or bind.layers > llm.config.layers:
        raise CheckpointError(
            f"the adapter reads {bind.features} features in {bind.layers} layers, "
            f"the encoder gives {encoder_dim} and the language model has {llm.config.layers} layers"
        )
    account(ADAPTER, adapter_shapes(folder, llm), read_shapes(path / ADAPTER))
    return dict(read_tensors(path / ADAPTER, dtype=torch.float32))


def adapter_shapes(folder: ImageBindLLMFolder, llm: Llama) -> dict[str, tuple[int, ...]]:
    shapes = bind_shapes(folder.bind, llm.config)
    if folder.biases:
        shapes |= tuned_shapes(llm.config)
    if folder.lora is not None and not folder.lora.merged:
        shapes |= lora_shapes(folder.lora, module_shapes(llm))
    return shapes


def prefix_adapter(tensors: Mapping[str, Tensor], folder: ImageBindLLMFolder, llm: Llama) -> PrefixAdapter:
    first = llm.config.layers - folder.bind.layers
    adapter = PrefixAdapter(folder.bind.layers, llm.config.heads, llm.config.width)
    adapter.gates.data = torch.stack([tensors[gate_name(layer)] for layer in range(first, llm.config.layers)])
    adapter.queries.data = tensors["prefix_query.weight"]
    return adapter


def bind_network(tensors: Mapping[str, Tensor], folder: ImageBindLLMFolder, width: int) -> BindNetwork:
    with init_empty_weights():
        network = BindNetwork(folder.bind.features, width, folder.bind.hidden)
    state = {key.removeprefix("bind."): value for key, value in tensors.items() if key.startswith("bind.")}
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False)


def tune(llm: Llama, folder: ImageBindLLMFolder, tensors: Mapping[str, Tensor]) -> None:
    """Put the norms and biases into the model, then merge the LoRA."""
    if folder.biases:
        put_tuned(llm, tensors)
    if folder.lora is not None and not folder.lora.merged:
        pairs = sorted({key.rsplit(".lora_", 1)[0] for key in tensors if key.endswith(LORA)})
        a, b = LORA
        merge_lora(llm, {name: (tensors[name + a], tensors[name + b]) for name in pairs}, folder.lora.scale)


def put_tuned(llm: Llama, tensors: Mapping[str, Tensor]) -> None:
    """The adapter's norms in place of the model's, and its biases, which the base has none of."""
    modules = dict(llm.named_modules())
    for key in tuned_shapes(llm.config):
        name, _, kind = key.rpartition(".")
        setattr(modules[name], kind, nn.Parameter(tensors[key], requires_grad=False))
    llm.config = dataclasses.replace(llm.config, biases=frozenset(name.rpartition(".")[2] for name in BIASED))


def _last_layers(llm: Llama, count: int) -> list[Layer]:
    layers = list(llm.model.layers)[llm.config.layers - count :]
    return [layer for layer in layers if isinstance(layer, Layer)]


def _attention(layer: Layer) -> LlamaAttention:
    assert isinstance(layer.self_attn, LlamaAttention), "the language model is served already"
    return layer.self_attn
