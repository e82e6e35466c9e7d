"""The trainer of projection and LoRA for any model folder: PandaGPT's method (Su et al. 2023, section 3)."""

from pandagpt_core.training.tune.settings import TuneSettings, read_tune_settings

__all__ = ["TuneSettings", "read_tune_settings"]
