"""Checkpoints: the model folder's schema, the strict account of keys, digests, reading and writing of weights."""

from pandagpt_core.checkpoints.account import (
    MINIGPT_V2_CHECKPOINT,
    PANDAGPT_DELTA,
    KeyMap,
    Shape,
    Shapes,
    account,
    adapter_shapes,
    lora_shapes,
    renamed,
)
from pandagpt_core.checkpoints.digests import (
    file_digest,
    file_path,
    folder_digests,
    llm_path,
    own_encoder,
    verify_files,
)
from pandagpt_core.checkpoints.folder import (
    ADAPTER,
    CACHE,
    CONFIG,
    ENCODER,
    CacheSpec,
    EncoderSpec,
    LLMSpec,
    ModelFolder,
)
from pandagpt_core.checkpoints.imagebind_llm import BindSpec, ImageBindLLMFolder
from pandagpt_core.checkpoints.minigpt_v2 import MiniGPTv2Folder, ProjectedFolder
from pandagpt_core.checkpoints.pandagpt import (
    BosSpec,
    LoraSpec,
    PandaGPTFolder,
    PerceptionSpec,
    ProjectionSpec,
    RetrievalSpec,
)
from pandagpt_core.checkpoints.pickled import read_pickled
from pandagpt_core.checkpoints.systems import (
    SystemFolder,
    as_system,
    check_model_folder,
    parse_model_folder,
    read_folder_of,
    read_model_folder,
    write_model_folder,
)
from pandagpt_core.checkpoints.weights import cast, load_module, module_shapes, read_layout, read_shapes, read_tensors
from pandagpt_core.checkpoints.writer import write_safetensors

__all__ = [
    "ADAPTER",
    "CACHE",
    "CONFIG",
    "ENCODER",
    "MINIGPT_V2_CHECKPOINT",
    "PANDAGPT_DELTA",
    "BindSpec",
    "BosSpec",
    "CacheSpec",
    "EncoderSpec",
    "ImageBindLLMFolder",
    "KeyMap",
    "LLMSpec",
    "LoraSpec",
    "MiniGPTv2Folder",
    "ModelFolder",
    "PandaGPTFolder",
    "PerceptionSpec",
    "ProjectedFolder",
    "ProjectionSpec",
    "RetrievalSpec",
    "Shape",
    "Shapes",
    "SystemFolder",
    "account",
    "adapter_shapes",
    "as_system",
    "cast",
    "check_model_folder",
    "file_digest",
    "file_path",
    "folder_digests",
    "llm_path",
    "load_module",
    "lora_shapes",
    "module_shapes",
    "own_encoder",
    "parse_model_folder",
    "read_folder_of",
    "read_layout",
    "read_model_folder",
    "read_pickled",
    "read_shapes",
    "read_tensors",
    "renamed",
    "verify_files",
    "write_model_folder",
    "write_safetensors",
]
