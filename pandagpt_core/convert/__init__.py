"""Originals' checkpoints into model folders."""

from pandagpt_core.convert.pandagpt import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt, plan_pandagpt

__all__ = ["PandaGPTOptions", "PandaGPTOriginals", "convert_pandagpt", "plan_pandagpt"]
