"""Marks for tests of OpenVINO: each needs a precision that a trial shows to be computed on this machine."""

import pytest

from pandagpt_core.llm.openvino.capable import why_not
from pandagpt_core.llm.quant.linear import Precision


def needs(*precisions: Precision) -> None:
    """Skip, with the reason, where OpenVINO does not compute in one of them."""
    for precision in precisions:
        if reason := why_not(precision):
            pytest.skip(f"OpenVINO does not compute {precision} here: {reason}")
