"""ImageBind's six towers into one space (Girdhar et al. 2023), with the original's key names, for inference.

Point-Bind's (Guo et al. 2023) is a seventh, for 3D point clouds, where the sizes have it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec
import torch
from torch import nn

from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.encoders.base import TowerPart, TowerTokens
from pandagpt_core.encoders.heads import Head, LogitScale, TextHead, Unit, first_token, last_token, up_to_last_token
from pandagpt_core.encoders.points.encoder import PointTrunk, checked_clouds
from pandagpt_core.encoders.sizes import PATCH_TOWERS, POINT, RECIPES, TOWER_OF, TOWERS, ImageBindSizes
from pandagpt_core.encoders.stems import PatchPreprocessor, TextPreprocessor
from pandagpt_core.encoders.transformer import Trunk
from pandagpt_core.errors import UnsupportedModality
from pandagpt_core.types import Modality

Variant = Literal["imagebind", "pandagpt"]

# Towers whose embeddings are scaled after they were normalised. PandaGPT's copy of ImageBind scales no audio.
SCALED: Mapping[Variant, frozenset[str]] = {
    "imagebind": frozenset({"text", "audio", "depth", "thermal", "imu", POINT}),
    "pandagpt": frozenset({"text", "depth", "thermal", "imu", POINT}),
}
_WITH_SCALE = SCALED["imagebind"]  # the towers that have a scale in the checkpoint
_HEAD_GAP = {"imu": 2}
POINT_PART = "point_trunk"  # the one module of a tower that lies beside the original's four
_PARTS = ("modality_preprocessors", "modality_trunks", "modality_heads", "modality_postprocessors")


class ImageBind(nn.Module):
    """Towers of `sizes` for the towers named, all that the sizes have by default.

    Built on the meta device unless `device` is given: weights have no memory until a checkpoint gives it
    (`pandagpt_core.checkpoints.load_module` with `unused=model.is_unbuilt`).
    """

    def __init__(
        self,
        sizes: ImageBindSizes,
        *,
        variant: Variant,
        towers: Iterable[str] | None = None,
        device: str | torch.device = "meta",
    ) -> None:
        super().__init__()
        self.dim, self._sizes, self._variant = sizes.out, sizes, variant
        chosen = frozenset(sizes.towers if towers is None else towers)
        self.towers = tuple(name for name in sizes.towers if name in chosen)
        self.recipes: Mapping[Modality, str] = {
            modality: recipe for modality, recipe in RECIPES.items() if TOWER_OF[modality] in self.towers
        }
        with init_empty_weights() if device == "meta" else torch.device(device):
            self.modality_preprocessors = self._each(lambda name: _preprocessor(sizes, name), but=POINT)
            self.modality_trunks = self._each(lambda name: _trunk(sizes, name), but=POINT)
            self.modality_heads = self._each(lambda name: _head(sizes, name))
            self.modality_postprocessors = self._each(lambda name: _postprocessor(name, variant))
            if POINT in self.towers and sizes.point is not None:
                self.point_trunk = PointTrunk(sizes.point)
        self.eval()
        self.requires_grad_(False)

    def _each(self, build: Callable[[str], nn.Module], but: str = "") -> nn.ModuleDict:
        return nn.ModuleDict({name: build(name) for name in self.towers if name != but})

    def is_unbuilt(self, key: str) -> bool:
        """Whether a checkpoint's key belongs to one of the towers that this model was built without."""
        tower = tower_of_key(key)
        return tower is not None and tower not in self.towers

    def part(self, modality: Modality) -> TowerPart:
        """One tower. A shape shows no attention heads, and no scale that the variant leaves out."""
        tower = TOWER_OF[modality]
        shown = {name: getattr(self._sizes, name) for name in (tower, "out", "vocab")}
        facts = {**msgspec.to_builtins(shown), "scaled": tower in SCALED[self._variant]}
        return TowerPart(lambda key: tower_of_key(key) == tower, facts)

    @torch.inference_mode()
    def encode(self, modality: Modality, clips: torch.Tensor) -> torch.Tensor:
        """Clips of one modality to embeddings, [N, ...] to [N, dim] float32: normalised, then scaled by the variant.

        Images [N, 3, 224, 224]; video [N, 3, 2, 224, 224]; audio [N, 1, 128, 204]; depth and thermal
        [N, 1, 224, 224]; IMU [N, 6, 2000]; text ids [N, 77]; points [N, P, 3]. Square pictures of other sizes have
        their positions interpolated. Raises UnsupportedModality without the tower and InvalidMedia for another shape.
        """
        return self.with_tokens(modality, clips).vectors

    @torch.inference_mode()
    def with_tokens(self, modality: Modality, clips: torch.Tensor) -> TowerTokens:
        """As `encode`, with what the trunk gave: class token and patches, a text's tokens, groups of points."""
        tower = self.tower_of(modality)
        if tower == POINT:
            x = self.point_trunk.tokens(checked_clouds(clips, self.point_trunk.size))
            return TowerTokens(self.post(tower, self.head(tower, self.point_trunk.pool(x))), x)
        if tower != "text":
            clips = clips.to(next(self.modality_preprocessors[tower].parameters()).dtype)
        x = self.trunk(tower, self.tokens(tower, clips))
        keep = up_to_last_token(clips) if tower == "text" else None
        return TowerTokens(self.post(tower, self.head(tower, self.pool(tower, clips, x))), x, keep)

    def tower_of(self, modality: Modality) -> str:
        if modality not in self.recipes:
            raise UnsupportedModality(f"the model has no tower for {modality}")
        return TOWER_OF[modality]

    @property
    def token_widths(self) -> Mapping[str, int]:
        return {name: self._sizes.token_width(name) for name in self.towers}

    def cloud(self, clouds: torch.Tensor, starts: torch.Tensor | None = None) -> torch.Tensor:
        """Features of point clouds for their head, [N, P, 3] to [N, D]. starts: see `PointTrunk`."""
        encoded: torch.Tensor = self.point_trunk(checked_clouds(clouds, self.point_trunk.size), starts)
        return encoded

    def tokens(self, tower: str, clips: torch.Tensor) -> torch.Tensor:
        """Input of a tower's trunk, [N, T, D]."""
        tokens: torch.Tensor = self.modality_preprocessors[tower](clips)
        return tokens

    def trunk(self, tower: str, tokens: torch.Tensor) -> torch.Tensor:
        """[N, T, D] to [N, T, D]; text sees no later position."""
        mask = self.modality_preprocessors[tower].mask if tower == "text" else None
        x: torch.Tensor = self.modality_trunks[tower](tokens, mask)
        return x

    def pool(self, tower: str, clips: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The token of each clip that stands for it, [N, D]."""
        return last_token(x, clips) if tower == "text" else first_token(x)

    def head(self, tower: str, pooled: torch.Tensor) -> torch.Tensor:
        """[N, D] to [N, dim], in float32 from here on."""
        projected: torch.Tensor = self.modality_heads[tower](pooled)
        return projected.float()

    def post(self, tower: str, embedded: torch.Tensor) -> torch.Tensor:
        """[N, dim] normalised, then scaled where the variant does."""
        done: torch.Tensor = self.modality_postprocessors[tower](embedded)
        return done


def tower_of_key(key: str) -> str | None:
    """The tower that a checkpoint's key belongs to; None where it is no tower's."""
    part, _, rest = key.partition(".")
    if part == POINT_PART:
        return POINT
    tower = rest.partition(".")[0]
    return tower if part in _PARTS and tower in (*TOWERS, POINT) else None


def _preprocessor(sizes: ImageBindSizes, name: str) -> nn.Module:
    width = sizes.tower(name).width
    return TextPreprocessor(width, sizes.vocab) if name == "text" else PatchPreprocessor(width, PATCH_TOWERS[name])


def _trunk(sizes: ImageBindSizes, name: str) -> nn.Module:
    size = sizes.tower(name)
    extra_token = name != "text" and PATCH_TOWERS[name].extra_token
    return Trunk(size.width, size.blocks, size.heads, extra_token=extra_token, norm_first=name == "vision")


def _head(sizes: ImageBindSizes, name: str) -> nn.Module:
    if name == POINT and sizes.point is not None:
        return Head(sizes.point.projected, sizes.out, gap=1)
    width = sizes.tower(name).width
    return TextHead(width, sizes.out) if name == "text" else Head(width, sizes.out, gap=_HEAD_GAP.get(name, 1))


def _postprocessor(name: str, variant: Variant) -> nn.Module:
    scale = [LogitScale(used=name in SCALED[variant])] if name in _WITH_SCALE else []
    return nn.Sequential(Unit(), *scale)
