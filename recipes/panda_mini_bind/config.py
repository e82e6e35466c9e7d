"""The numbers that decide the weights of panda-mini-bind besides its data: sizes, seeds, lengths of the stages."""

from dataclasses import dataclass, field

from recipes.panda_mini.space.towers import TowerConfig


@dataclass(frozen=True, slots=True)
class DrawConfig:
    """Numbers for drawing an example's features.

    own: the share of a concept's own direction instead of a picture. mix: the largest share of another picture that is
    mixed in. noise: the largest length of the noise that is added to a feature of length one.
    """

    own: float = 0.1
    mix: float = 0.35
    noise: float = 1.0


@dataclass(frozen=True, slots=True)
class BindTraining:
    """layers: the last ones of the language model that get the vector. hidden: of the bind network's blocks.

    ridge: of the bind network's first matrix. lr: of network and queries; gates_lr: of the gates, which begin at zero.
    common: of the vocabulary, the first tokens that an answer's token must be likelier than, beside all of answers.
    """

    layers: int = 8
    hidden: int = 576
    ridge: float = 1e-2
    steps: int = 120
    batch: int = 48
    lr: float = 1e-3
    gates_lr: float = 3e-2
    warmup: float = 0.04
    clip: float = 1.0
    common: int = 8192
    keep_every: int = 20
    seed: int = 1


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """The second phase: norms, biases and LoRA of the layers that get the vector.

    rank: of the LoRA, which has no scale. each: talks of every concept. plain: questions without a picture whose
    answers by the untouched model are learned, `text_tokens` of each. nothing: questions about a picture that is not
    there. alone: the share of examples without a picture. draw: moved further than in the first phase, for other media
    lie further from the pictures than pictures from one another.
    """

    rank: int = 4
    steps: int = 160
    batch: int = 24
    lr: float = 1e-3
    warmup: float = 0.05
    clip: float = 1.0
    each: int = 4
    plain: int = 96
    text_tokens: int = 24
    nothing: int = 24
    alone: float = 0.2
    common: int = 8192
    keep_every: int = 20
    seed: int = 1
    draw: DrawConfig = field(default_factory=lambda: DrawConfig(mix=0.5, noise=2.0))


@dataclass(frozen=True, slots=True)
class BindRecipe:
    """thin: every so many pictures, to try it. concepts: the first so many, to try it. tuning: the second phase, where
    it is run."""

    seed: int = 1
    thin: int = 1
    concepts: int | None = None
    draw: DrawConfig = field(default_factory=DrawConfig)
    points: TowerConfig = field(default_factory=lambda: TowerConfig(steps=600, batch=32))
    training: BindTraining = field(default_factory=BindTraining)
    tuning: TuneConfig | None = None


QUICK = BindRecipe(
    thin=100,
    concepts=12,
    points=TowerConfig(steps=2, batch=4),
    training=BindTraining(hidden=16, steps=2, batch=2),
    tuning=TuneConfig(rank=1, steps=2, batch=4, each=1, plain=4, text_tokens=4, nothing=2),
)
