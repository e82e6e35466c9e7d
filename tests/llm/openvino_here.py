"""Marks for tests of OpenVINO: each needs a precision that a trial shows to be computed on this machine."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from pandagpt_core.llm.openvino.capable import why_not
from pandagpt_core.llm.quant.linear import Precision


def needs(*precisions: Precision) -> None:
    """Skip, with the reason, where OpenVINO does not compute in one of them."""
    for precision in precisions:
        if reason := why_not(precision):
            pytest.skip(f"OpenVINO does not compute {precision} here: {reason}")


def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the package."""
    monkeypatch.setitem(sys.modules, "openvino", None)  # type: ignore[arg-type]  # the import system's own mark


def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with the package, for code that only looks for it."""
    module = ModuleType("openvino")
    module.__spec__ = ModuleSpec("openvino", None)
    monkeypatch.setitem(sys.modules, "openvino", module)
