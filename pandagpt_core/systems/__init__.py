"""Model systems: how encoders and a language model are joined, each as its publication joins them."""

from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.systems.base import LoadOptions, System

# The tag of a folder's struct -> module and class, imported when a folder of it is loaded (`systems.base`).
SYSTEMS = MappingProxyType(
    {
        "pandagpt": ("pandagpt_core.systems.pandagpt", "PandaGPT"),
        "minigpt-v2": ("pandagpt_core.systems.minigpt_v2.system", "MiniGPTv2"),
        "imagebind-llm": ("pandagpt_core.systems.imagebind_llm.system", "ImageBindLLM"),
    }
)


def load_system(path: Path, options: LoadOptions) -> System:
    """The system of the model folder at `path`, on its device and ready to answer. Raises CheckpointError."""
    folder = read_model_folder(path)
    module, name = SYSTEMS[folder.system]
    system: System = getattr(import_module(module), name).load(path, folder, options)
    return system


__all__ = ["SYSTEMS", "LoadOptions", "System", "load_system"]
