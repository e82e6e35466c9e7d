"""The detector's weights from the TensorFlow.js files of npm `@vladmandic/human`, under our names.

A weights manifest lists tensors in the order of their bytes; those that say float16 are stored so.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pandagpt_core.encoders.mini.centernet import CenterNet

_FOLDER = Path("vladmandic-human") / "package" / "models"
_TYPES = {"float32": np.float32, "int32": np.int32, "float16": np.float16, "bool": np.bool_}
_HEAD = "CenternetHead"
_UPS = {"up5": "c5_upsample", "up4": "c4_upsample", "up3": "c3_upsample"}


def load_centernet(packages: Path) -> CenterNet:
    """The published network, float32, frozen."""
    network = CenterNet()
    weights = read_manifest(packages / _FOLDER / "centernet.json")
    network.load_state_dict({ours: _tensor(weights, theirs, ours) for ours, theirs in names(network)})
    return network.eval().requires_grad_(False)


def read_manifest(model: Path) -> dict[str, np.ndarray]:
    """Every tensor of a TensorFlow.js model, by its name without the scope `tower_0/`."""
    found: dict[str, np.ndarray] = {}
    for group in json.loads(model.read_text())["weightsManifest"]:
        data, at = b"".join((model.parent / path).read_bytes() for path in group["paths"]), 0
        for weight in group["weights"]:
            kind = np.dtype(_TYPES[weight.get("quantization", weight)["dtype"]])
            count = int(np.prod(weight["shape"], dtype=int))
            tensor = np.frombuffer(data, kind, count, at).reshape(weight["shape"])
            found[weight["name"].removeprefix("tower_0/")] = tensor
            at += count * kind.itemsize
        if at != len(data):
            raise ValueError(f"{model.name}: its manifest describes {at} of {len(data)} bytes")
    return found


def names(network: CenterNet) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Our names with the candidates for theirs."""
    for ours in network.state_dict():
        module, _, leaf = ours.rpartition(".")
        yield ours, tuple(_theirs(module, "weights" if leaf == "weight" else "bias"))


def _theirs(module: str, leaf: str) -> Iterator[str]:
    first, *rest = module.split(".")
    if first == "blocks":
        block = f"MobilenetV3/expanded_conv{'' if rest[0] == '0' else f'_{rest[0]}'}"
        yield from _block(block, rest[1:], leaf)
    elif first in ("c2", "c3", "c4"):
        base = f"{_HEAD}/{first}_reverse"
        yield from _folded(f"{base}/1x1", leaf) if rest == ["reduce"] else _separable(f"{base}/3x3", rest[1], leaf)
    elif first in _UPS:
        branch = "x" if rest[0] == "small" else "y"
        yield from _separable(f"{_HEAD}/{_UPS[first]}/branch_{branch}_upsample_resize", rest[1], leaf)
    elif first in ("kinds", "reach"):
        base = f"{_HEAD}/centernet_{'cls' if first == 'kinds' else 'wh'}_output"
        yield f"{base}/{'biases' if leaf == 'bias' else f'{rest[0]}_weights'}"
    elif first == "gate_out":
        yield f"{_HEAD}/conv1x1_se_b/weights"
    else:
        named = {"stem": "MobilenetV3/Conv", "deep": "extern1", "gate_in": f"{_HEAD}/conv1x1_se_a"}
        yield from _folded(named[first], leaf)


def _block(block: str, rest: list[str], leaf: str) -> Iterator[str]:
    if rest[0] == "squeeze":
        conv = "Conv" if rest[1] == "reduce" else "Conv_1"
        yield f"{block}/squeeze_excite/{conv}/{'biases' if leaf == 'bias' else 'weights'}"
    elif rest[0] == "depthwise":
        yield f"{block}/depthwise/{'depthwise_bn_offset' if leaf == 'bias' else 'depthwise_weights'}"
    else:
        yield from _folded(f"{block}/{rest[0]}", leaf)


def _folded(base: str, leaf: str) -> Iterator[str]:
    yield f"{base}/{'Conv2D_bn_offset' if leaf == 'bias' else 'Conv2D_weights'}"


def _separable(base: str, part: str, leaf: str) -> Iterator[str]:
    if part == "depthwise":
        yield f"{base}/depthwise_weights"
    else:
        yield f"{base}/{'separable_conv2d_bn_offset' if leaf == 'bias' else 'separable_conv2d_weights'}"


def _tensor(weights: dict[str, np.ndarray], candidates: tuple[str, ...], ours: str) -> torch.Tensor:
    """In torch's order: [out, in, h, w], where TensorFlow has [h, w, in, out], depthwise [h, w, in, 1]."""
    (name,) = (one for one in candidates if one in weights)
    tensor = torch.from_numpy(np.asarray(weights[name], np.float32))
    if tensor.ndim == 1:
        return tensor
    depthwise = ours.endswith("depthwise.weight")
    return tensor.permute(2, 3, 0, 1) if depthwise else tensor.permute(3, 2, 0, 1).contiguous()
