"""Precisions that OpenVINO computes here: by processes that may raise, answer nonsense, hang or die."""

import sys
from typing import get_args

import pytest

from pandagpt_core.llm.openvino.capable import KINDS, reasons, why_not
from pandagpt_core.llm.quant.linear import Precision
from tests.llm.openvino_here import absent

SCRIPT = """
import json, os, signal, sys, time
for kind in sys.argv[1:]:
    if kind == "bf16":
        {at_bf16}
    print(json.dumps({{"precision": kind, "divergence": 0.001}}), flush=True)
"""


def command(at_bf16: str) -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(at_bf16=at_bf16)]


@pytest.mark.parametrize(
    ("at_bf16", "reason"),
    [
        ("pass", ""),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the process that tried it ended by signal SIGSEGV"),
        ("raise SystemExit(3)", "the process that tried it ended with status 3: "),
        (
            "print(json.dumps({'precision': kind, 'error': 'expect kvcache type f32'}), flush=True); continue",
            "expect kvcache type f32",
        ),
        (
            "print(json.dumps({'precision': kind, 'divergence': 0.31}), flush=True); continue",
            "its answers are others than torch's: 0.31 nats apart",
        ),
    ],
)
def test_one_precision_that_fails_takes_no_other_along(at_bf16: str, reason: str) -> None:
    assert reasons(command(at_bf16), KINDS) == {"int8": "", "bf16": reason, "fp32": ""}


def test_a_process_that_hangs_is_given_up() -> None:
    found = reasons(command("time.sleep(60)"), ("bf16",), limit_s=1.0)
    assert found == {"bf16": "the process that tried it did not end within 1 s"}


def test_not_a_number_is_nonsense() -> None:
    at_bf16 = "print(json.dumps({'precision': kind, 'divergence': float('nan')}), flush=True); continue"
    assert reasons(command(at_bf16), ("bf16",))["bf16"].startswith("its answers are others than torch's: nan")


def test_what_is_not_installed_or_unknown_is_said_without_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not("fp16").startswith("it has no fp16") or "not installed" in why_not("fp16")
    absent(monkeypatch)
    assert "pip install -e '.[openvino]'" in why_not("fp32")


def test_the_trial_of_this_machine_has_an_answer_for_each_kind() -> None:
    """Float32 is computed wherever the package is installed for this processor."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install -e '.[openvino]')")
    assert set(KINDS) <= set(get_args(Precision))
    assert all(isinstance(why_not(kind), str) for kind in KINDS)
    assert why_not("fp32") == ""
