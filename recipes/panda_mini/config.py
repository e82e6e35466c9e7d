"""The numbers that decide the small default's weights: sizes of its towers, seeds, lengths of the stages."""

from dataclasses import dataclass, field
from typing import Any

from pandagpt_core.training.lora import LoraConfig
from recipes.panda_mini.language.projection_lora import SpeechConfig
from recipes.panda_mini.language.reading_lora import ReadingConfig
from recipes.panda_mini.space.audio_depth_thermal import MAPS, SOUND, SensesConfig
from recipes.panda_mini.space.contrastive import AlignConfig
from recipes.panda_mini.space.embedding_space import CLIP_VOCABULARY
from recipes.panda_mini.space.towers import TowerConfig

DIM = 256
SIZES: dict[str, Any] = {
    "dim": DIM,
    "towers": {
        "image": {"hidden": 512},
        "text": {
            "width": 192,
            "layers": 3,
            "heads": 6,
            "vocabulary": CLIP_VOCABULARY,
            "factor": 64,
            "context": 77,
        },
        "imu": {
            "height": 6,
            "span": 2000,
            "kernel": (6, 8),
            "stride": (6, 8),
            "width": 96,
            "layers": 2,
            "heads": 4,
        },
        "audio": {"kind": "sound", **SOUND},
        "depth": {"kind": "map", **MAPS},
        "thermal": {"kind": "map", **MAPS},
        "things": {},
    },
}


@dataclass(frozen=True, slots=True)
class BuildRecipe:
    """Numbers that decide the weights besides the data: seeds, lengths of stages. `thin`: every so many pictures."""

    seed: int = 1
    thin: int = 1
    align: AlignConfig = field(default_factory=AlignConfig)
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    lora: LoraConfig = field(default_factory=lambda: LoraConfig(lr=6e-4, projection_lr=4e-4))
    speech_steps: int = 1000
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    reading_steps: int = 420
    motion: TowerConfig = field(default_factory=lambda: TowerConfig(steps=250, batch=32))
    senses: SensesConfig = field(default_factory=SensesConfig)


QUICK = BuildRecipe(
    thin=20,
    align=AlignConfig(steps=4, batch=32, classes=16),
    speech=SpeechConfig(batch=4, text_only=1, base_tokens=4),
    speech_steps=3,
    reading=ReadingConfig(batch=2, pool=2, plain_tokens=4),
    reading_steps=2,
    motion=TowerConfig(steps=3, batch=4),
    senses=SensesConfig(clips=1, variants=1, sound=TowerConfig(steps=3, batch=4), maps=TowerConfig(steps=3, batch=4)),
)
