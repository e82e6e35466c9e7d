"""The trained parts of ImageBind-LLM in its two phases, as one module that gives the loss (Han et al. 2023, section 3).

pretrain: the bind network, the prefix queries and the gates, on captions. finetune: the language model's norms, biases
and LoRA, on instructions. The rest is frozen in either phase.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.checkpoints import ImageBindLLMFolder, llm_path
from pandagpt_core.checkpoints.imagebind_llm import GATE, tuned_shapes
from pandagpt_core.errors import InvalidRequest
from pandagpt_core.llm.llama import Layer, LayerBias, Llama
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.systems.imagebind_llm.adapter import bind_network, prefix_adapter, put_tuned, read_adapter
from pandagpt_core.systems.imagebind_llm.bind_network import BindNetwork
from pandagpt_core.systems.imagebind_llm.mix import SOME
from pandagpt_core.systems.imagebind_llm.prefix_adapter import PrefixAdapter, to_heads
from pandagpt_core.training.batch import IGNORED, Batch, Sums, attention
from pandagpt_core.training.lora import LoraConfig, LoraLinear, add_lora

Phase = Literal["pretrain", "finetune"]
BRIDGE = ("network.", "prefix.")  # the modules of the first phase


class TrainableBind(nn.Module):
    """The language model with LoRA beside its layers, the bind network, and the adapter that adds it to layers."""

    def __init__(self, llm: Llama, network: BindNetwork, prefix: PrefixAdapter, phase: Phase) -> None:
        super().__init__()
        self.llm, self.network, self.prefix = llm, network, prefix
        self.phase = phase
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(_is_trained(name, phase))

    def forward(self, batch: Batch) -> Sums:
        """Targets with id 0 are left out by the layout; every other learned token counts the same."""
        embeds = self.llm.embed(batch.tokens)
        positions = torch.arange(embeds.shape[1], device=embeds.device).expand(len(embeds), -1)
        hidden = self.llm.hidden(embeds, positions, attention(batch.keep), self.layer_bias(batch))
        learned = batch.targets[:, 1:] != IGNORED
        logits, target = self.llm.logits(hidden[:, :-1][learned]).float(), batch.targets[:, 1:][learned]
        counted = learned.nonzero()[:, 1] > 0
        right = (logits.argmax(dim=-1) == target)[counted].sum()
        return Sums(F.cross_entropy(logits, target, reduction="sum"), right, counted.sum())

    def layer_bias(self, batch: Batch) -> LayerBias:
        """[B, L, D] of the sequences' mixed media; zeros for a sequence without."""
        count, length = batch.tokens.shape
        units = F.normalize(batch.vectors, dim=-1) * batch.weights[:, None]
        features = units.new_zeros(count, units.shape[1]).index_add(0, batch.rows, units)
        shares = units.new_zeros(count).index_add(0, batch.rows, batch.weights)  # media of each sequence
        visual = self.network(features / (shares + SOME)[:, None])  # [B, D]
        added = [self._added(index, visual) for index in range(self.prefix.layers)]
        rows = torch.stack([torch.zeros_like(visual)] * (self.llm.config.layers - len(added)) + added, dim=1)
        rows = rows * (shares > 0)[:, None, None]
        return LayerBias(rows, torch.arange(count, device=rows.device)[:, None].expand(count, length))

    def _added(self, index: int, visual: Tensor) -> Tensor:
        """[B, D] for the attention output of the adapter's layer `index`."""
        layer = self.llm.model.layers[self.llm.config.layers - self.prefix.layers + index]
        assert isinstance(layer, Layer)
        projected = F.linear(
            visual + self.prefix.queries[index], _base(layer.self_attn.get_submodule("v_proj")).weight.float()
        )
        value = to_heads(projected, self.llm.config.heads, self.llm.config.kv_heads)
        gates = self.prefix.gates[index].tanh().repeat_interleave(value.shape[-1] // self.prefix.gates.shape[1])
        return _without_bias(layer.self_attn.get_submodule("o_proj"), gates * value)


def build_bind(path: Path, folder: ImageBindLLMFolder, phase: Phase, encoder_dim: int, dropout: float) -> TrainableBind:
    """The folder's own weights, float32, on the CPU. Raises InvalidRequest for a folder whose LoRA is merged."""
    if folder.lora is None or folder.lora.merged or not folder.biases:
        raise InvalidRequest(f"{folder.id} has no LoRA or biases of its own to train")
    llm = load_llama(llm_path(path, folder.llm))
    tensors = read_adapter(path, folder, llm, encoder_dim)
    prefix, network = prefix_adapter(tensors, folder, llm), bind_network(tensors, folder, llm.config.width)
    put_tuned(llm, tensors)
    spec = folder.lora
    config = LoraConfig(r=spec.r, alpha=spec.alpha, dropout=dropout, targets=spec.targets)
    for name, layer in add_lora(llm, config).items():
        layer.a.data, layer.b.data = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
    return TrainableBind(llm, network, prefix, phase)


def adapter_state(model: TrainableBind, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of adapter.safetensors, by the folder's names: `trained` by the module's, the rest as the model has it."""
    config = model.llm.config
    own = {name: parameter.detach() for name, parameter in model.named_parameters()} | dict(trained)
    tuned, first = tuned_shapes(config), config.layers - model.prefix.layers
    state: dict[str, Tensor] = {"prefix_query.weight": own["prefix.queries"]}
    state |= {f"model.layers.{first + at}{GATE}": gate.clone() for at, gate in enumerate(own["prefix.gates"])}
    for name, tensor in own.items():
        part, _, rest = name.partition(".")
        plain = rest.replace(".base.", ".")
        if part == "network":
            state[f"bind.{rest}"] = tensor
        elif part == "llm" and plain in tuned:
            state[plain] = tensor
        elif part == "llm" and plain.endswith((".a", ".b")):
            state[f"{plain[:-2]}.lora_{plain[-1].upper()}.weight"] = tensor
    return {name: tensor.float().cpu().contiguous() for name, tensor in state.items()}


def _is_trained(name: str, phase: Phase) -> bool:
    if name.startswith(BRIDGE):
        return phase == "pretrain"
    tuned = name.endswith((".a", ".b", ".bias")) or "norm" in name
    return phase == "finetune" and tuned


def _base(module: nn.Module) -> Linear:
    base = module.base if isinstance(module, LoraLinear) else module
    assert isinstance(base, Linear)
    return base


def _without_bias(module: nn.Module, x: Tensor) -> Tensor:
    """The projection with its LoRA but without bias or dropout, since its input is no token."""
    out = F.linear(x, _base(module).weight.to(x.dtype))
    return out + module.scale * F.linear(F.linear(x, module.a), module.b) if isinstance(module, LoraLinear) else out
