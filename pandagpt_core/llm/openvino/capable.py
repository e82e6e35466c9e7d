"""Precisions that OpenVINO computes on this machine, found out by a tiny model in a process of its own (`probe`).

The operations depend on the processor, on the plugin's version and on the environment; some combinations raise, some
answer nonsense and some end the process.
"""

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import cast

from pandagpt_core.llm import openvino
from pandagpt_core.llm.quant.linear import Precision

COMMAND = (sys.executable, "-m", "pandagpt_core.llm.openvino.probe")
KINDS: tuple[Precision, ...] = ("int8", "bf16", "fp32")
MOST = 0.02  # nats of divergence from torch; int8 has 0.002 and nonsense more than 0.1
LIMIT_S = 120.0


def why_not(precision: Precision) -> str:
    """The reason why OpenVINO cannot compute in that precision here; empty where it can."""
    if not openvino.installed():
        return "not installed: pip install -e '.[openvino]'"
    if precision not in KINDS:
        return f"it has no {precision}, only {', '.join(KINDS)}"
    return _here()[precision]


@functools.cache
def _here() -> Mapping[Precision, str]:
    return reasons(COMMAND, KINDS)


def reasons(command: Sequence[str], kinds: Sequence[Precision], limit_s: float = LIMIT_S) -> Mapping[Precision, str]:
    """Of each kind, by as many processes as it takes: one that dies at a kind is started again for those after it."""
    found: dict[Precision, str] = {}
    while left := [kind for kind in kinds if kind not in found]:
        done, ending = _run([*command, *left], limit_s)
        for line in done:
            found[cast(Precision, line["precision"])] = _reason(line)
        dead = next((kind for kind in left if kind not in found), None)
        if dead is not None:
            found[dead] = f"the process that tried it {ending}"
    return found


def _run(command: Sequence[str], limit_s: float) -> tuple[list[dict[str, object]], str]:
    """The lines it printed, and how it ended."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)
        out, ending = done.stdout, _ending(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as late:
        out, ending = str(late.stdout or b"", "utf-8"), f"did not end within {limit_s:g} s"
    return [json.loads(line) for line in out.splitlines() if line.startswith("{") and line.endswith("}")], ending


def _ending(status: int, errors: str) -> str:
    if status < 0:
        return f"ended by signal {signal.Signals(-status).name}"
    return f"ended with status {status}: {' '.join(errors.split()[-20:])}"


def _reason(line: Mapping[str, object]) -> str:
    if "error" in line:
        return str(line["error"])
    nats = float(str(line["divergence"]))
    return "" if nats <= MOST else f"its answers are others than torch's: {nats:.2g} nats apart"
