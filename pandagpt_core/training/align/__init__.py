"""A tower of any model folder aligned to the frozen space of pictures (ImageBind, Girdhar et al. 2023, section 3)."""

from pandagpt_core.training.align.settings import AlignSettings, read_align_settings

__all__ = ["AlignSettings", "read_align_settings"]
