"""LanguageBind's towers into one space (Zhu et al. 2024): CLIP's text tower and vision transformers around it.

Module names are those of its files, which are transformers' CLIP. The video tower attends over time before space in
each layer (an own embedding a frame, no feed-forward of its own). The towers of sound, depth and heat are CLIP's vision
tower; that of sound reads a spectrogram that is wider than high. Embeddings have length one; the published temperatures
are left out.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pandagpt_core.empty_weights import init_empty_weights
from pandagpt_core.encoders.base import TowerPart, TowerTokens
from pandagpt_core.encoders.heads import last_token, up_to_last_token
from pandagpt_core.errors import CheckpointError, InvalidMedia, UnsupportedModality
from pandagpt_core.field_bounds import Positive
from pandagpt_core.modalities import check_recipes
from pandagpt_core.types import Modality

Activation = Literal["gelu", "quick_gelu"]
RECIPES: Mapping[Modality, str] = MappingProxyType(
    {
        Modality.IMAGE: "imagebind-image-v1",
        Modality.VIDEO: "languagebind-video-v1",
        Modality.AUDIO: "languagebind-audio-v1",
        Modality.DEPTH: "languagebind-depth-v1",
        Modality.THERMAL: "languagebind-thermal-v1",
        Modality.TEXT: "clip-bpe-v1",
    }
)
check_recipes(RECIPES)
FURTHER = (Modality.VIDEO, Modality.AUDIO, Modality.DEPTH, Modality.THERMAL)  # a folder may lack them
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"gelu": F.gelu, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x)}
)
EPS = 1e-5


class TransformerSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A transformer of `blocks` layers, `width` wide, `ffn` in its feed-forward. `frames`: that it attends over."""

    width: Positive
    blocks: Positive
    heads: Positive
    ffn: Positive
    activation: Activation
    frames: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of {self.heads} heads")


class VisionSize(TransformerSize, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Pictures of `image` rows in patches of `patch`. `columns`: of pictures that are not square."""

    image: Positive
    patch: Positive
    columns: Annotated[int, msgspec.Meta(ge=0)] = 0

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image, self.columns or self.image

    @property
    def patches(self) -> int:
        return math.prod(side // self.patch for side in self.sides)


class TextSize(TransformerSize, frozen=True, forbid_unknown_fields=True, kw_only=True):
    vocab: Positive
    positions: Positive


class LanguageBindSizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None of `video`, `audio`, `depth`, `thermal`: where a folder has no tower for it."""

    out: Positive
    text: TextSize
    image: VisionSize
    video: VisionSize | None = None
    audio: VisionSize | None = None
    depth: VisionSize | None = None
    thermal: VisionSize | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "LanguageBindSizes":
        """Of a model folder's `encoder.sizes`. Raises CheckpointError."""
        try:
            return msgspec.convert(config, cls)
        except msgspec.ValidationError as error:
            raise CheckpointError(f"LanguageBind's sizes: {error}") from error

    def to_config(self) -> dict[str, Any]:
        config: dict[str, Any] = msgspec.to_builtins(self)
        return config

    @property
    def recipes(self) -> dict[Modality, str]:
        return {key: recipe for key, recipe in RECIPES.items() if getattr(self, key) is not None}


class ClipAttention(nn.Module):
    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(size.width, size.width) for _ in range(4))

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """[N, T, D] to [N, T, D]."""
        q, k, v = (
            part(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class ClipMLP(nn.Module):
    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size.width, size.ffn), nn.Linear(size.ffn, size.width)
        self.activation = ACTIVATIONS[size.activation]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


class ClipLayer(nn.Module):
    """Pre-norm attention and feed-forward; with frames, first each patch attends over its own place in all of them."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.frames = size.frames
        self.self_attn, self.mlp = ClipAttention(size), ClipMLP(size)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(size.width, EPS), nn.LayerNorm(size.width, EPS)
        if size.frames:
            self.temporal_embedding = nn.Parameter(torch.empty(1, size.frames, size.width))
            self.temporal_attn, self.temporal_layer_norm1 = ClipAttention(size), nn.LayerNorm(size.width, EPS)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        x = self._over_time(x) if self.frames else x
        x = x + self.self_attn(self.layer_norm1(x), causal)
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out

    def _over_time(self, x: Tensor) -> Tensor:
        """[B * frames, P, D] to the same."""
        tokens = x.shape[1]
        places = x.view(-1, self.frames, *x.shape[1:]).transpose(1, 2).flatten(0, 1)  # [B * P, frames, D]
        if self.frames > 1:
            places = places + self.temporal_embedding
        places = places + self.temporal_attn(self.temporal_layer_norm1(places))
        back: Tensor = places.view(-1, tokens, *places.shape[1:]).transpose(1, 2).flatten(0, 1)
        return back


class ClipLayers(nn.Module):
    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ClipLayer(size) for _ in range(size.blocks))

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        for layer in self.layers:
            x = layer(x, causal)
        return x


class VisionEmbeddings(nn.Module):
    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(size.width))
        self.patch_embedding = nn.Conv2d(3, size.width, size.patch, size.patch, bias=False)
        self.position_embedding = nn.Embedding(size.patches + 1, size.width)

    def forward(self, pictures: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 1 + patches, D]."""
        patches = self.patch_embedding(pictures).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pictures), 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class ClipVisionModel(nn.Module):
    def __init__(self, size: VisionSize) -> None:
        super().__init__()
        self.size = size
        self.embeddings = VisionEmbeddings(size)
        self.pre_layrnorm = nn.LayerNorm(size.width, EPS)  # the published spelling
        self.encoder = ClipLayers(size)
        self.post_layernorm = nn.LayerNorm(size.width, EPS)

    def forward(self, pictures: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, 1 + patches, D], the class token first."""
        out: Tensor = self.encoder(self.pre_layrnorm(self.embeddings(pictures)))
        return out


class ClipVisionTower(nn.Module):
    def __init__(self, size: VisionSize, out: int) -> None:
        super().__init__()
        self.vision_model = ClipVisionModel(size)
        self.visual_projection = nn.Linear(size.width, out, bias=False)

    def forward(self, clips: Tensor) -> Tensor:
        """[N, 3, H, W], or [N, 3, T, H, W] with T frames, whose class tokens are averaged; [N, out]."""
        return self.pool(self.tokens(clips), clips)

    def tokens(self, clips: Tensor) -> Tensor:
        """[N, 1 + patches, D], of T frames [N, T (1 + patches), D]."""
        size = self.vision_model.size
        wanted = (3, *([size.frames] if size.frames else []), *size.sides)
        if tuple(clips.shape[1:]) != wanted:
            raise InvalidMedia(f"the tower reads {wanted}, it was given {tuple(clips.shape[1:])}")
        frames = clips.transpose(1, 2).flatten(0, 1) if size.frames else clips
        tokens: Tensor = self.vision_model(frames)
        return tokens.reshape(len(clips), -1, size.width)

    def pool(self, tokens: Tensor, _clips: Tensor) -> Tensor:
        size = self.vision_model.size
        first = tokens.view(len(tokens), max(1, size.frames), -1, size.width)[:, :, 0]  # [N, T, D], the class tokens
        out: Tensor = self.visual_projection(self.vision_model.post_layernorm(first).mean(dim=1))
        return out


class TextEmbeddings(nn.Module):
    def __init__(self, size: TextSize) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(size.vocab, size.width)
        self.position_embedding = nn.Embedding(size.positions, size.width)


class ClipTextModel(nn.Module):
    def __init__(self, size: TextSize) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(size)
        self.encoder = ClipLayers(size)
        self.final_layer_norm = nn.LayerNorm(size.width, EPS)


class ClipTextTower(nn.Module):
    def __init__(self, size: TextSize, out: int) -> None:
        super().__init__()
        self.text_model = ClipTextModel(size)
        self.text_projection = nn.Linear(size.width, out, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """[N, T] ids to [N, out], by the token at each text's end."""
        return self.pool(self.tokens(ids), ids)

    def tokens(self, ids: Tensor) -> Tensor:
        """[N, T, D]."""
        tables = self.text_model.embeddings
        x = tables.token_embedding(ids) + tables.position_embedding.weight[: ids.shape[1]]
        normed: Tensor = self.text_model.final_layer_norm(self.text_model.encoder(x, causal=True))
        return normed

    def pool(self, tokens: Tensor, ids: Tensor) -> Tensor:
        out: Tensor = self.text_projection(last_token(tokens, ids))
        return out


class LanguageBind(nn.Module):
    """Towers `text` and `image`, and the others of the sizes, each under its name; no memory until loaded."""

    def __init__(self, sizes: LanguageBindSizes, device: str | torch.device = "meta") -> None:
        super().__init__()
        self.dim, self.recipes, self._sizes = sizes.out, sizes.recipes, sizes
        with init_empty_weights() if device == "meta" else torch.device(device):
            self.text = ClipTextTower(sizes.text, sizes.out)
            for name in (Modality.IMAGE, *FURTHER):
                size = getattr(sizes, name)
                if size is not None:
                    self.add_module(name, ClipVisionTower(size, sizes.out))
        self.eval()
        self.requires_grad_(False)

    def part(self, modality: Modality) -> TowerPart:
        """One tower. A shape shows no attention heads, and no activation."""
        facts = {"out": self.dim, "tower": msgspec.to_builtins(getattr(self._sizes, modality))}
        return TowerPart(lambda key: key.startswith(f"{modality}."), facts)

    @torch.inference_mode()
    def encode(self, modality: Modality, clips: Tensor) -> Tensor:
        """Media as their recipes make them, text ids [N, 77]; [N, dim] float32 of length one."""
        return self.with_tokens(modality, clips).vectors

    @torch.inference_mode()
    def with_tokens(self, modality: Modality, clips: Tensor) -> TowerTokens:
        """As `encode`, with what the transformer gave: class tokens and patches, or a text's tokens."""
        tower = getattr(self, self.tower_of(modality))
        is_text = modality == Modality.TEXT
        clips = clips if is_text else clips.to(tower.visual_projection.weight.dtype)
        tokens = tower.tokens(clips)
        vectors = F.normalize(tower.pool(tokens, clips).float(), dim=-1)
        return TowerTokens(vectors, tokens, up_to_last_token(clips) if is_text else None)

    def tower_of(self, modality: Modality) -> str:
        """A tower has its modality's name."""
        if modality not in self.recipes:
            raise UnsupportedModality(f"the model has no tower for {modality}")
        return str(modality)

    @property
    def token_widths(self) -> Mapping[str, int]:
        return {str(modality): getattr(self._sizes, modality).width for modality in self.recipes}
