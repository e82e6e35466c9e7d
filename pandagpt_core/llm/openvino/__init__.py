"""A LLaMA's whole step compiled by OpenVINO for this processor: `graph` describes the computation, `compiled` runs it.

Imported only where it is used: the package `openvino` is an extra.
"""

import importlib.util

__all__ = ["installed"]


def installed() -> bool:
    """Whether the package is there. Whether it does on this processor is for the check at load to find out."""
    return importlib.util.find_spec("openvino") is not None
