"""Media preprocessing: raw bytes to the small arrays that encoders read. Pure functions, numpy, no torch, no paths."""

from pandagpt_core.media.limits import Limits
from pandagpt_core.media.recipes import digest, load
from pandagpt_core.modalities import RECIPES

__all__ = ["RECIPES", "Limits", "digest", "load"]
