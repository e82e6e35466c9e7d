"""A LLaMA's whole step compiled by OpenVINO for this processor: `graph` describes the computation, `compiled` runs it.

Imported only where it is used: the package `openvino` is an extra.
"""

import importlib.util

__all__ = ["installed"]


def installed() -> bool:
    """Whether the package is there. The check at load finds out whether it computes on this processor."""
    return importlib.util.find_spec("openvino") is not None
