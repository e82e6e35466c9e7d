"""Media preprocessing: raw bytes to the small arrays that encoders read. Pure functions, numpy, no torch, no paths."""

from pandagpt_core.media.limits import Limits
from pandagpt_core.media.recipes import RECIPES, digest, load

__all__ = ["RECIPES", "Limits", "digest", "load"]
