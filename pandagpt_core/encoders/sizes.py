"""The one table of ImageBind's towers: the form of each, and the sizes of the published model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pandagpt_core.encoders.points.sizes import W3D, PointSize
from pandagpt_core.errors import CheckpointError
from pandagpt_core.field_bounds import Positive
from pandagpt_core.modalities import check_recipes
from pandagpt_core.types import Modality

# Both kinds of picture go through one tower: a still is a clip of two equal frames (ImageBind, section 3.2).
TOWER_OF: Mapping[Modality, str] = {
    Modality.IMAGE: "vision",
    Modality.VIDEO: "vision",
    Modality.TEXT: "text",
    Modality.AUDIO: "audio",
    Modality.DEPTH: "depth",
    Modality.THERMAL: "thermal",
    Modality.IMU: "imu",
    Modality.POINTS: "point",
}
RECIPES: Mapping[Modality, str] = {
    Modality.IMAGE: "imagebind-image-v1",
    Modality.VIDEO: "imagebind-video-v1",
    Modality.AUDIO: "imagebind-audio-v1",
    Modality.DEPTH: "depth-sunrgbd-v1",
    Modality.THERMAL: "imagebind-thermal-v1",
    Modality.IMU: "imu-v1",
    Modality.POINTS: "points-8192-v1",
    Modality.TEXT: "clip-bpe-v1",
}
check_recipes(RECIPES)
TEXT_LENGTH = 77  # token ids of one text, CLIP's context


@dataclass(frozen=True, slots=True)
class TowerShape:
    """Form of a tower of patches, the same at all sizes.

    `patch` is the input of the projection for one token: channels and kernel. `stride` has one entry for each axis that
    the kernel slides along, the input's last ones; where the kernel has one axis more, that is time, and it covers all
    of it. `grid` is the number of patches along those axes that the position table is for. `stem` is the original's
    name. `normed`: whether a LayerNorm follows the projection; vision alone normalises in front of its trunk instead.
    `extra_token`: whether attention has a learned key and value beside the patches' own. `linear` marks IMU's two
    differences of form: the projection's weight is flat, [D, C * kernel], and the position table lies in no module of
    its own.
    """

    stem: str
    patch: tuple[int, ...]
    stride: tuple[int, ...]
    grid: tuple[int, ...]
    normed: bool = True
    extra_token: bool = True
    linear: bool = False

    @property
    def clip(self) -> bool:
        """Whether the input is a clip of frames, [N, C, T, H, W]; a still [N, C, H, W] is repeated into one."""
        return len(self.patch) - len(self.stride) == 2


PATCH_TOWERS: Mapping[str, TowerShape] = {
    "vision": TowerShape("rgbt_stem", (3, 2, 14, 14), (14, 14), (16, 16), normed=False, extra_token=False),
    "audio": TowerShape("rgbt_stem", (1, 16, 16), (10, 10), (12, 19)),
    "depth": TowerShape("depth_stem", (1, 16, 16), (16, 16), (14, 14)),
    "thermal": TowerShape("rgbt_stem", (1, 16, 16), (16, 16), (14, 14)),
    "imu": TowerShape("imu_stem", (6, 8), (8,), (250,), linear=True),
}
POINT = "point"
TOWERS = ("vision", "text", "audio", "depth", "thermal", "imu")  # the original's order


class TowerSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transformer of `blocks` layers, `width` wide, with `heads` attention heads."""

    width: Positive
    blocks: Positive
    heads: Positive

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of {self.heads} heads")


class ImageBindSizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Six towers into one space of width `out`; `vocab` is the number of the text tower's token ids.

    point: of a seventh tower, Point-Bind's for 3D point clouds; None where a checkpoint has none.
    """

    vision: TowerSize
    text: TowerSize
    audio: TowerSize
    depth: TowerSize
    thermal: TowerSize
    imu: TowerSize
    out: Positive
    vocab: Positive
    point: PointSize | None = None

    @property
    def towers(self) -> tuple[str, ...]:
        """Names of all towers, in the original's order."""
        return TOWERS if self.point is None else (*TOWERS, POINT)

    @property
    def recipes(self) -> dict[Modality, str]:
        """Of the modalities that the towers take."""
        return {modality: recipe for modality, recipe in RECIPES.items() if TOWER_OF[modality] in self.towers}

    def tower(self, name: str) -> TowerSize:
        size: TowerSize = getattr(self, name)
        return size

    def token_width(self, name: str) -> int:
        """Of what a tower's trunk gives, before its head."""
        if name == POINT and self.point is not None:
            return self.point.width
        return self.tower(name).width

    def to_config(self) -> dict[str, Any]:
        """The table for a model folder's `encoder.sizes`."""
        config: dict[str, Any] = msgspec.to_builtins(self)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ImageBindSizes":
        """The inverse of `to_config`; a field that is unknown, absent or wrong is a CheckpointError."""
        try:
            return msgspec.convert(config, cls)
        except msgspec.ValidationError as error:
            raise CheckpointError(f"ImageBind's sizes: {error}") from error


# The released checkpoint, imagebind_huge.pth (ImageBind, section 4: ViT-H for vision, OpenCLIP's text encoder).
HUGE = ImageBindSizes(
    vision=TowerSize(width=1280, blocks=32, heads=16),
    text=TowerSize(width=1024, blocks=24, heads=16),
    audio=TowerSize(width=768, blocks=12, heads=12),
    depth=TowerSize(width=384, blocks=12, heads=8),
    thermal=TowerSize(width=768, blocks=12, heads=12),
    imu=TowerSize(width=512, blocks=6, heads=8),
    out=1024,
    vocab=49408,
)
# The same with Point-Bind's tower, imagebind_w3D.pth.
HUGE_3D = msgspec.structs.replace(HUGE, point=W3D)
NAMED: Mapping[str, ImageBindSizes] = {"huge": HUGE, "huge-3d": HUGE_3D}
