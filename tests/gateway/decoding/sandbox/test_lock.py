"""The layers' order, what of them took hold, and the processor time of a job."""

import signal
import sys

import pytest

from service.gateway.decoding.sandbox import LAYERS, lock
from tests.gateway.decoding.sandbox.processes import ended, printed

linux = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")
BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_a_layer_that_is_absent_leaves_the_others_and_its_reason() -> None:
    def missing() -> None:
        raise OSError("Function not implemented")

    absent: dict[str, str] = {}
    steps = [("first", lambda: None), ("second", missing), ("third", lambda: None)]
    assert lock._held(steps, absent) == ["first", "third"]
    assert absent == {"second": "OSError: Function not implemented"}


def test_a_fault_that_no_system_explains_is_not_taken_for_an_absent_layer() -> None:
    def broken() -> None:
        raise TypeError

    with pytest.raises(TypeError):
        lock._held([("broken", broken)], {})


@linux
def test_layers_hold_in_their_order_and_without_a_namespace_the_root_stays() -> None:
    code = "absent = {}\nprint(json.dumps([lock.lock_down(1 << 30, None, absent), absent]))"
    held, absent = printed(code)
    assert held == [name for name in LAYERS if name in held]
    assert {"memory", "files", "descriptors", "python"} <= set(held)
    assert "root" not in held
    assert absent["root"] == "needs a mount namespace of its own"


@linux
def test_a_job_dies_of_its_processor_time() -> None:
    assert ended("lock.arm(0.05)\n" + BUSY.format(seconds=3600)).returncode == -signal.SIGPROF


@linux
def test_a_job_that_ended_in_time_leaves_no_timer() -> None:
    assert ended("lock.arm(0.3); lock.arm(0)\n" + BUSY.format(seconds=0.6)).returncode == 0
