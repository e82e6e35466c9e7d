"""ImageBind-LLM over a language model whose query heads share key-value heads: each head gets its group's value."""

import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.systems.imagebind_llm.bind_network import BindNetwork
from pandagpt_core.systems.imagebind_llm.prefix_adapter import LayerMaps, PrefixAdapter, to_heads
from pandagpt_core.training.batch import collate
from pandagpt_core.training.tune.bind_model import TrainableBind

HEADS, GROUPS, SIZE = 4, 2, 2
WIDTH = HEADS * SIZE


def parts() -> tuple[Llama, PrefixAdapter]:
    torch.manual_seed(0)
    config = LlamaConfig(vocab=9, width=WIDTH, layers=3, heads=HEADS, kv_heads=GROUPS, head_dim=SIZE, ffn=8)
    adapter = PrefixAdapter(2, HEADS, WIDTH)
    torch.nn.init.normal_(adapter.gates)
    torch.nn.init.normal_(adapter.queries)
    return Llama(config).requires_grad_(False), adapter


def folded(llm: Llama, adapter: PrefixAdapter) -> LayerMaps:
    layers = [layer.self_attn for layer in list(llm.model.layers)[1:]]
    values = [to_heads(one.v_proj.weight.T, HEADS, GROUPS).T for one in layers]
    return LayerMaps.folded(adapter, values, [one.o_proj.weight for one in layers], 3, torch.float32)


def test_each_query_head_adds_the_value_of_its_group() -> None:
    llm, adapter = parts()
    visual = torch.randn(WIDTH)
    added = folded(llm, adapter)(visual)
    assert not added[0].any()
    for at in range(2):
        attention = llm.model.layers[at + 1].self_attn
        value = attention.v_proj(visual + adapter.queries[at]).view(GROUPS, SIZE)
        heads = [adapter.gates[at, head].tanh() * value[head // (HEADS // GROUPS)] for head in range(HEADS)]
        torch.testing.assert_close(added[at + 1], attention.o_proj(torch.cat(heads)), rtol=1e-5, atol=1e-6)


def test_training_and_serving_add_the_same() -> None:
    llm, adapter = parts()
    network = BindNetwork(5, WIDTH, 8)
    feature = torch.nn.functional.normalize(torch.randn(5), dim=-1)
    batch = collate([(1, 2)], [(-100, 2)], [[feature]], 5)
    trained = TrainableBind(llm, network, adapter, "pretrain").layer_bias(batch).rows[0]
    served = folded(llm, adapter)(network(feature / (1 + 1e-6)))
    torch.testing.assert_close(trained, served, rtol=1e-5, atol=1e-6)
