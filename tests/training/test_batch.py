"""The attention of training is the served model's."""

import torch

from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.rope import Rope
from pandagpt_core.training.batch import PlainAttention

CONFIG = LlamaConfig(
    vocab=40, width=16, layers=2, heads=4, kv_heads=2, head_dim=4, ffn=32, norm_eps=1e-5, rope=Rope(1e4),
    max_positions=64, tied=True,
)  # fmt: skip


def tiny() -> Llama:
    torch.manual_seed(0)
    return Llama(CONFIG)


def test_attention_written_out_is_the_models_own() -> None:
    llm = tiny()
    embeds, keep = torch.randn(2, 6, 16), torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    ours = llm.logits(llm.hidden(embeds, torch.arange(6).expand(2, -1), PlainAttention(keep)))
    torch.testing.assert_close(ours[0], llm(embeds, keep)[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[1, :4], llm(embeds, keep)[1, :4], rtol=1e-4, atol=1e-5)
