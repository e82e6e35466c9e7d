"""Originals' checkpoints into model folders."""

from pandagpt_core.convert.pandagpt import Options, Originals, Plan, convert_pandagpt, plan_pandagpt

__all__ = ["Options", "Originals", "Plan", "convert_pandagpt", "plan_pandagpt"]
