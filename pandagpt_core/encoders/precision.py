"""bfloat16 products in the towers' blocks, where they are faster and the embeddings point where they did.

On a CPU everything between the products stays float32. On CUDA so much of it would take longer than the products, and
attention in float32 has no fast kernel: there what goes on inside of a block's two halves is bfloat16 too if the margin
allows it, and sums and norms alone are float32. What is decided is measured at load, tower by tower: a product's time,
and the direction of one made clip's embedding. Workers of one fleet may decide otherwise than one another; then what
one of them encodes differs in the fifth digit of its cosine, so in the third of its components. What was encoded once
is shared by all of them while the store keeps it; whoever wants the same on every machine names float32.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F

from pandagpt_core.encoders.eva_vit import Block as EvaBlock
from pandagpt_core.encoders.eva_vit import EvaVit
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.sizes import PATCH_TOWERS, TEXT_LENGTH
from pandagpt_core.encoders.stems import TextPreprocessor
from pandagpt_core.encoders.transformer import Block
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.types import Modality

MARGIN = 0.9995  # the least cosine to the float32 embedding; 0.99998 was seen with two blocks of huge's widths
FASTER = 1.2  # times: less is noise and not worth a rounding
SMALL = 4_000_000  # weights of a tower's products: below, an encoding takes no time to speak of
# By the kind of device: tokens of the product that is timed (fewer would time a GPU's launches), and the element types
# between the products that are tried in turn, None for float32. Towers on other kinds are left alone.
ROWS: Mapping[str, int] = MappingProxyType({"cpu": 64, "cuda": 4096})
BETWEEN: Mapping[str, Sequence[torch.dtype | None]] = MappingProxyType({"cpu": (None,), "cuda": (torch.bfloat16, None)})
OF_TOWER = {"vision": Modality.VIDEO, **{name: Modality(name) for name in ("text", "audio", "depth", "thermal", "imu")}}

Timer = Callable[[Linear], float]


def quicken(encoder: ImageBind, timed: Timer | None = None, kind: str | None = None) -> tuple[str, ...]:
    """Round the weights of those towers' blocks where it pays and stays within the margin: their names.

    kind: of device whose ways are tried; that which the weights are on, if not said.
    """
    between = BETWEEN.get(kind or next(encoder.parameters()).device.type, ())
    return tuple(name for name in encoder.towers if between and _quickened(encoder, name, timed or seconds, between))


@torch.inference_mode()
def seconds(layer: Linear) -> float:
    """Of the product with a few rows: the best of a few runs."""
    device = layer.weight.device
    rows, best = torch.ones(ROWS[device.type], layer.in_features, device=device), float("inf")
    for _ in range(5):
        _wait(device)
        begun = time.perf_counter()
        layer(rows)
        _wait(device)
        best = min(best, time.perf_counter() - begun)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def quicken_eva_vit(encoder: EvaVit, timed: Timer | None = None, kind: str | None = None) -> bool:
    """As `quicken`: every row of a made picture must point where it did."""
    between = BETWEEN.get(kind or encoder.cls_token.device.type, ())
    if not between:
        return False
    side = encoder.sizes.image
    picture = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(encoder.cls_token.device)
    blocks = [block for block in encoder.blocks if isinstance(block, EvaBlock)]
    return _rounded(blocks, lambda: encoder.encode(Modality.IMAGE, picture)[0], timed or seconds, between)


def _quickened(encoder: ImageBind, tower: str, timed: Timer, between: Sequence[torch.dtype | None]) -> bool:
    blocks = [block for block in encoder.modality_trunks[tower].modules() if isinstance(block, Block)]
    clip = made_clip(encoder, tower)
    return _rounded(blocks, lambda: encoder.encode(OF_TOWER[tower], clip), timed, between)


def _rounded(
    blocks: Sequence[Block] | Sequence[EvaBlock],
    encode: Callable[[], torch.Tensor],
    timed: Timer,
    between: Sequence[torch.dtype | None],
) -> bool:
    """Round the blocks' products where it pays and every row [N, D] of `encode` stays within the margin."""
    products = [parameter for block in blocks for parameter in block.products()]
    if sum(parameter.numel() for parameter in products) < SMALL or not _pays(blocks[0].mlp.fc1, timed):
        return False
    expected, exact = encode(), [parameter.data for parameter in products]
    for parameter in products:
        parameter.data = parameter.data.to(torch.bfloat16)
    for inner in between:
        _set_inner(blocks, inner)
        if float(F.cosine_similarity(encode(), expected).min()) >= MARGIN:
            return True
    _set_inner(blocks, None)
    for parameter, before in zip(products, exact, strict=True):
        parameter.data = before
    return False


def _set_inner(blocks: Sequence[Block] | Sequence[EvaBlock], inner: torch.dtype | None) -> None:
    for block in blocks:
        block.inner = inner


def _pays(largest: Linear, timed: Timer) -> bool:
    rounded = Linear(largest.in_features, largest.out_features, dtype=torch.bfloat16, device=largest.weight.device)
    return timed(rounded) * FASTER <= timed(largest)


def made_clip(encoder: ImageBind, tower: str) -> torch.Tensor:
    """One clip of a tower's input, random and the same each time, on the tower's device."""
    chance, device = torch.Generator().manual_seed(0), next(encoder.parameters()).device
    preprocessor = encoder.modality_preprocessors[tower]
    if isinstance(preprocessor, TextPreprocessor):
        ids = torch.randint(0, preprocessor.token_embedding.num_embeddings, (1, TEXT_LENGTH), generator=chance)
        return ids.to(device)
    shape = PATCH_TOWERS[tower]
    kernel = shape.patch[-len(shape.stride) :]
    axes = [(count - 1) * step + size for count, step, size in zip(shape.grid, shape.stride, kernel, strict=True)]
    return torch.randn(1, *shape.patch[: -len(shape.stride)], *axes, generator=chance).to(device)
