"""Checkpoints: the model folder's schema, the strict account of keys, digests and reading of weights."""

from pandagpt_core.checkpoints.folder import (
    ADAPTER,
    CONFIG,
    ENCODER,
    BosSpec,
    EncoderSpec,
    LLMSpec,
    LoraSpec,
    ModelFolder,
    ProjectionSpec,
    parse_model_folder,
    read_model_folder,
    write_model_folder,
)

__all__ = [
    "ADAPTER",
    "CONFIG",
    "ENCODER",
    "BosSpec",
    "EncoderSpec",
    "LLMSpec",
    "LoraSpec",
    "ModelFolder",
    "ProjectionSpec",
    "parse_model_folder",
    "read_model_folder",
    "write_model_folder",
]
