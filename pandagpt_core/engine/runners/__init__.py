"""Runners: who computes a step. One protocol, one file a library, and the choice among them."""

from pandagpt_core.engine.config import EngineSizes
from pandagpt_core.engine.runners.base import Runner
from pandagpt_core.engine.runners.torch_runner import TorchRunner
from pandagpt_core.llm.llama import Llama

__all__ = ["Runner", "make_runner"]


def make_runner(llm: Llama, sizes: EngineSizes) -> Runner:
    """By what the model was made ready for."""
    if llm.compiled is None:
        return TorchRunner(llm, sizes)
    # OpenVINO is optional, and importing it takes time.
    from pandagpt_core.engine.runners.openvino_runner import OpenVinoRunner

    return OpenVinoRunner(llm, sizes)
