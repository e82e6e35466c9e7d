"""Media preprocessing: raw bytes to the small arrays that encoders read. Pure functions, numpy, no torch, no paths."""

from pandagpt_core.media.limits import Limits
from pandagpt_core.media.notes import Notes
from pandagpt_core.media.recipes import digest, load, read
from pandagpt_core.modalities import RECIPES

__all__ = ["RECIPES", "Limits", "Notes", "digest", "load", "read"]
