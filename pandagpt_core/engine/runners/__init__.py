"""Runners: one protocol, one file a library, and the choice among them."""

from pandagpt_core.engine.config import EngineSizes
from pandagpt_core.engine.runners.base import Runner
from pandagpt_core.engine.runners.torch_runner import TorchRunner
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.torch_backend import TorchLlama

__all__ = ["Runner", "make_runner"]


def make_runner(llm: LanguageModel, sizes: EngineSizes) -> Runner:
    """The runner of the library that serves the model."""
    if isinstance(llm, TorchLlama):
        return TorchRunner(llm, sizes)
    # OpenVINO is optional, and importing it takes time.
    from pandagpt_core.engine.runners.openvino_runner import OpenVinoRunner

    return OpenVinoRunner(llm, sizes)
