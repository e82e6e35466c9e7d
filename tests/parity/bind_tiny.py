"""The tiny ImageBind-LLM of the golden vectors, converted by our own converter, and its cases."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import ImageBindLLMFolder
from pandagpt_core.convert.imagebind_llm import ImageBindLLMOptions, ImageBindLLMOriginals, convert_imagebind_llm
from pandagpt_core.encoders.points.sizes import PointSize
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.types import Modality
from tests.golden import imagebind_sizes

POINT = PointSize(width=24, blocks=2, heads=3, groups=32, neighbours=16, local=48, projected=40)
SIZES = ImageBindSizes(
    **{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512, point=POINT
)
PART = "imagebind-llm-tiny"
# A search of the cache by other options: a combination, and the cache's size, temperature and weight.
WITH_OPTIONS = r"visual_knn/(.+_c\d+_t\d+_w\dp\d+)/mixed"
FOUND = r"knn/(.+)/indices"
FEATURES, LOGITS = 2e-5, 5e-5  # the golden set's own tolerances
MEDIA = {
    "Image": ("vision_image", Modality.IMAGE),
    "Audio": ("audio", Modality.AUDIO),
    "Video": ("vision_video", Modality.VIDEO),
    "Text": ("text", Modality.TEXT),
    "Thermal": ("thermal", Modality.THERMAL),
    "Point": ("point", Modality("points")),
}


def imagebind_w3d(golden: Path, out: Path) -> Path:
    """The tiny imagebind_w3D.pth: the towers' weights and the point encoder's in one file."""
    weights = load_file(golden / "imagebind-tiny" / "weights.safetensors")
    path = out / "imagebind_w3D.safetensors"
    save_file(weights | load_file(golden / "imagebind-llm-tiny" / "point_weights.safetensors"), path)
    return path


def originals(golden: Path, out: Path) -> ImageBindLLMOriginals:
    tiny = golden / "imagebind-llm-tiny"
    return ImageBindLLMOriginals(imagebind_w3d(golden, out), tiny / "llama", tiny / "7B.pth", tiny / "knn.index")


def convert(golden: Path, out: Path) -> tuple[Path, ImageBindLLMFolder]:
    """The model folder below `out`."""
    target = out / "imagebind-llm-tiny"
    return target, convert_imagebind_llm(
        originals(golden, out),
        target,
        ImageBindLLMOptions("imagebind-llm-tiny", imagebind_sizes(golden, with_points=True)),
    )


def cache_options(name: str) -> tuple[str, int, float, float]:
    """The combination and the cache's size, temperature and weight that the name of a tensor `WITH_OPTIONS` states."""
    combination, size, temperature, weight = name.rsplit("_", 3)
    return combination, int(size[1:]), float(temperature[1:]), float(weight[1:].replace("p", "."))


@dataclass(frozen=True)
class Golden:
    said: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
    inputs: Mapping[str, torch.Tensor]
    clouds: Mapping[str, torch.Tensor]

    @classmethod
    def read(cls, golden: Path) -> "Golden":
        tiny, imagebind = golden / "imagebind-llm-tiny", golden / "imagebind-tiny"
        scale = json.loads((imagebind / "config.json").read_text())["input_scale"]
        inputs = load_file(imagebind / "cases.safetensors")
        return cls(
            json.loads((tiny / "cases.json").read_text()),
            load_file(tiny / "cases.safetensors"),
            {name: tensor.float() * scale if tensor.dtype == torch.int8 else tensor for name, tensor in inputs.items()},
            {path.stem: torch.load(path, weights_only=True) for path in (tiny / "media").glob("*.pt")},
        )

    def weights(self, combination: str) -> Mapping[str, float]:
        weights: Mapping[str, float] = self.said["combos"][combination]
        return weights

    def alone(self, medium: str) -> str:
        """The name of the combination of one medium alone. Skips the case where there is none."""
        name = next((name for name, weights in self.said["combos"].items() if list(weights) == [medium]), None)
        if name is None:
            pytest.skip(f"no combination of {medium} alone among these vectors")
        return str(name)

    def tensor(self, name: str) -> torch.Tensor:
        return self.tensors[name].flatten()

    def images(self, count: int) -> torch.Tensor:
        """The first pictures' embeddings [count, E], as the original's towers gave them."""
        return self.inputs["vision_image/out"][:count]

    def cloud(self, index: int) -> torch.Tensor:
        return self.clouds[Path(self.said["point"]["files"][index]).stem]

    def array(self, medium: str) -> np.ndarray:
        """The recipe's array of a case's medium, clips first."""
        name, _ = MEDIA[medium]
        if medium == "Point":
            start = self.said["point"]["fps_start_index_batch1"][0]
            return self.cloud(0).roll(-start, 0)[None].numpy()
        given = self.inputs[f"{name}/input"]
        row = given[1:2] if medium == "Text" else given[:1]
        return (row[0] if name in ("vision_video", "audio") else row).numpy()
