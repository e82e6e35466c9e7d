"""`.ci/avx2/run` makes a processor look like one with AVX2 and nothing later, to every library and to children."""

import subprocess
import sys
from pathlib import Path

import pytest

CANNOT = 69

ASKED = """
from pathlib import Path

import torch

print(torch.backends.cpu.get_cpu_capability(), "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32")
print([flag for flag in Path("/proc/cpuinfo").read_text().split() if flag.startswith(("avx512", "amx"))])
"""
DIES = "import ctypes; ctypes.string_at(0)"


@pytest.fixture(scope="module")
def run(root: Path) -> Path:
    """Skips the tests, with the command's reason, where the machine cannot imitate another one."""
    program = root / ".ci/avx2/run"
    tried = subprocess.run([program, "true"], capture_output=True, text=True, check=False)
    if tried.returncode == CANNOT:
        pytest.skip(tried.stderr.strip())
    assert tried.returncode == 0, tried.stderr
    return program


def lines(*command: str | Path) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_libraries_and_the_system_show_a_processor_with_avx2(run: Path) -> None:
    assert lines(run, sys.executable, "-c", ASKED) == ["AVX2 float32", "[]"]


def test_a_child_sees_it_too(run: Path) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASKED!r}])"
    assert lines(run, sys.executable, "-c", child) == ["AVX2 float32", "[]"]


def test_activations_are_not_rounded_there_so_int8_weights_have_smaller_groups(run: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    asked = "from pandagpt_core.llm.openvino.int8_layout import group_size; print(group_size())"
    assert lines(run, sys.executable, "-c", asked) == ["32"]


def test_the_processor_outside_stays_what_it_is(run: Path) -> None:
    before = Path("/proc/cpuinfo").read_text(encoding="utf-8").count("(as one with AVX2")
    lines(run, "true")
    assert Path("/proc/cpuinfo").read_text(encoding="utf-8").count("(as one with AVX2") == before


@pytest.mark.parametrize("options", [(), ("-X", "faulthandler")])
def test_a_fault_of_a_program_still_ends_it(run: Path, options: tuple[str, ...]) -> None:
    inner = f"import subprocess, sys; print(subprocess.run([sys.executable, *{options}, '-c', {DIES!r}]).returncode)"
    assert lines(run, sys.executable, "-c", inner) == ["-11"]


def test_the_command_keeps_its_status(run: Path) -> None:
    assert subprocess.run([run, "sh", "-c", "exit 3"], check=False).returncode == 3
