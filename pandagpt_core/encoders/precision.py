"""bfloat16 products in the towers' blocks, where they are faster and the embeddings point where they did.

On a CPU everything between the products stays float32. On CUDA so much of it would take longer than the products, and
attention in float32 has no fast kernel: there what goes on inside of a block's two halves is bfloat16 too if the margin
allows it, and sums and norms too if it still does. All are candidates of `pandagpt_core.autotune`, tower by tower: a
product is timed, and the direction of one made clip's embedding is compared. Workers of one fleet may decide otherwise
than one another; then their embeddings differ in the fifth digit of the cosine, so in the third of the components. All
share an embedding while the store keeps it; a caller who wants the same on every machine names float32.
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from pandagpt_core.autotune import Candidate, Listen, Step, Timer, choose, ignore, known_to
from pandagpt_core.encoders.eva_vit import EvaBlock, EvaVit
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.sizes import PATCH_TOWERS, TEXT_LENGTH
from pandagpt_core.encoders.stems import TextPreprocessor
from pandagpt_core.encoders.transformer import Block
from pandagpt_core.llm.quant.linear import Linear
from pandagpt_core.types import Modality

LIMIT = 0.0005  # the largest 1 - cosine to the float32 embedding; 0.00002 was seen with two blocks of huge's widths
FASTER = 1.2  # times: less is noise and not worth a rounding
SMALL = 4_000_000  # weights of a tower's products: below, an encoding takes no time to speak of
# Towers of ImageBind alone: Point-Bind's is small, and its neighbours are chosen in float32.
OF_TOWER = {"vision": Modality.VIDEO, **{name: Modality(name) for name in ("text", "audio", "depth", "thermal", "imu")}}


@dataclass(frozen=True, slots=True)
class PrecisionPlan:
    """Element types of the products and of what is between them; None keeps float32. throughout: sums and norms too.

    handicap: of plans with the same products, whose times differ by noise alone, the coarser has the smaller one and is
    tried first.
    """

    name: str
    products: torch.dtype | None = None
    between: torch.dtype | None = None
    handicap: float = 1.0
    throughout: bool = False


class Throughout(nn.Module):
    """A trunk in an element type between two casts."""

    def __init__(self, trunk: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.trunk, self.dtype = trunk, dtype

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        out: torch.Tensor = self.trunk(x.to(self.dtype), mask)
        return out.to(x.dtype)


EXACT = PrecisionPlan("float32")
PRODUCTS = PrecisionPlan("bfloat16 products", torch.bfloat16, None, FASTER)
# By the kind of device: tokens of the product that is timed (fewer would time a GPU's launches), and the candidates.
# Towers on other kinds are left alone.
ROWS: Mapping[str, int] = MappingProxyType({"cpu": 64, "cuda": 4096})
PLANS: Mapping[str, Sequence[PrecisionPlan]] = MappingProxyType(
    {
        "cpu": (PRODUCTS, EXACT),
        "cuda": (
            PrecisionPlan("bfloat16 throughout", torch.bfloat16, torch.bfloat16, FASTER, throughout=True),
            PrecisionPlan("bfloat16 blocks", torch.bfloat16, torch.bfloat16, FASTER**2),
            PrecisionPlan("bfloat16 products", torch.bfloat16, None, FASTER**3),
            EXACT,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Tower:
    """A module of blocks, where it stands in an encoder, and an encoding [N, D] of one made clip that it computes."""

    name: str
    trunk: nn.Module
    put: Callable[[nn.Module], None]
    encode: Callable[[], torch.Tensor]


def autocast_towers(
    encoder: ImageBind,
    report: Listen = ignore,
    timed: Timer | None = None,
    kind: str | None = None,
    least: int = SMALL,
) -> tuple[str, ...]:
    """Round the weights of those towers' blocks where it pays and stays within the limit: their names.

    kind: of device whose plans are tried; by default the weights' own. least: weights of a tower's products
    below which it is left alone.
    """
    plans = PLANS.get(kind or next(encoder.parameters()).device.type, ())
    towers = [name for name in encoder.towers if name in OF_TOWER]
    return tuple(name for name in towers if _autocast(_tower(encoder, name), plans, report, timed, least))


def autocast_eva_vit(
    encoder: EvaVit,
    report: Listen = ignore,
    timed: Timer | None = None,
    kind: str | None = None,
    least: int = SMALL,
) -> bool:
    """As `autocast_towers`: every row of a made picture must point where it did."""
    device, side = encoder.cls_token.device, encoder.sizes.image
    picture = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    tower = Tower(
        "vision",
        encoder.blocks,
        functools.partial(setattr, encoder, "blocks"),
        lambda: encoder.encode(Modality.IMAGE, picture)[0],
    )
    plans = [
        plan for plan in PLANS.get(kind or device.type, ()) if not plan.throughout
    ]  # throughout wraps a trunk, not a list
    return _autocast(tower, plans, report, timed, least)


def _tower(encoder: ImageBind, name: str) -> Tower:
    clip = made_clip(encoder, name)
    return Tower(
        name,
        encoder.modality_trunks[name],
        lambda trunk: encoder.modality_trunks.update({name: trunk}),
        lambda: encoder.encode(OF_TOWER[name], clip),
    )


def _autocast(tower: Tower, plans: Sequence[PrecisionPlan], report: Listen, timed: Timer | None, least: int) -> bool:
    if not plans or sum(parameter.numel() for parameter in _products(tower.trunk)) < least:
        return False
    expected = functools.cache(tower.encode)

    def deviation(twin: nn.Module) -> float:
        reference = expected()  # by the trunk itself, before the twin is put in its place
        tower.put(twin)
        try:
            return 1.0 - float(F.cosine_similarity(tower.encode(), reference).min())
        finally:
            tower.put(tower.trunk)

    def candidate(plan: PrecisionPlan) -> Candidate[nn.Module]:
        return Candidate(
            name=plan.name,
            prepare=functools.partial(product_steps, _blocks(tower.trunk)[0].mlp.fc1, plan.products),
            make=functools.partial(rounded, tower.trunk, plan),
            deviation=None if plan is EXACT else deviation,
            limit=LIMIT,
            handicap=plan.handicap,
        )

    what = f"{tower.name} tower"
    taken, choice = choose(what, [candidate(plan) for plan in plans], timed, "1 - cosine", known_to(report, what))
    tower.put(taken)
    report(choice)
    return choice.taken != EXACT.name


def rounded(trunk: nn.Module, plan: PrecisionPlan) -> nn.Module:
    """A twin that computes so and shares what is not rounded; the trunk itself where nothing is."""
    if plan.products is None:
        return trunk
    if plan.throughout:
        whole = Throughout(copy.deepcopy(trunk).to(plan.products), plan.products)
        return _inside(whole, plan.between)
    kept = {id(parameter): parameter for parameter in (*trunk.parameters(), *trunk.buffers())}
    cast = {id(p): nn.Parameter(p.detach().to(plan.products), requires_grad=False) for p in _products(trunk)}
    twin = copy.deepcopy(trunk, {**kept, **cast})
    return _inside(twin, plan.between)


def _inside(trunk: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    for block in _blocks(trunk):
        block.inner = dtype
    return trunk


@torch.inference_mode()
def product_steps(layer: Linear, dtype: torch.dtype | None) -> Sequence[Step]:
    """A few rows times a layer's weights in an element type."""
    device = layer.weight.device
    cast = layer if dtype is None else Linear(layer.in_features, layer.out_features, dtype=dtype, device=device)
    rows = torch.ones(ROWS[device.type], layer.in_features, device=device)

    @torch.inference_mode()
    def step() -> None:
        cast(rows)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return [step]


def _blocks(trunk: nn.Module) -> list[Block | EvaBlock]:
    return [block for block in trunk.modules() if isinstance(block, Block | EvaBlock)]


def _products(trunk: nn.Module) -> list[nn.Parameter]:
    return [parameter for block in _blocks(trunk) for parameter in block.products()]


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
