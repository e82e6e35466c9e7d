"""Torch's attention kernels for shapes that seldom come again."""

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from pandagpt_core.llm.attention.base import causal_mask, grouped_attention, new_shapes

CUDNN = torch.backends.cuda.cudnn_sdp_enabled


def test_a_device_does_without_kernels_that_plan_each_shape() -> None:
    before = CUDNN()
    with new_shapes(torch.device("cuda")):
        assert not CUDNN()
    assert CUDNN() is before
    with new_shapes(torch.device("cpu")):
        assert CUDNN() is before


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")  # the profiler's, of torch's own code
@pytest.mark.parametrize("length", [33, 64, 171])
def test_a_gpu_attends_to_a_prompt_of_any_length_without_a_plan(length: int) -> None:
    chance = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(1, 4, length, 128, generator=chance).to("cuda", torch.bfloat16) for _ in range(3))
    mask = causal_mask(length, length, q.device, q.dtype)
    with new_shapes(q.device), profile(activities=[ProfilerActivity.CPU]) as seen:
        attended = grouped_attention(q, k, v, mask)
    assert not [event.key for event in seen.key_averages() if "cudnn" in event.key]
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
    torch.testing.assert_close(attended.float(), expected, atol=0.05, rtol=0.05)
