"""The choice at a first start, made by a process of its own, whose memory for the trials goes with it.

Tried in the worker's own process, candidates left some 100 MB behind that no call gave back, for as long as it served.
"""

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from service.settings import WorkerSettings

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "service.worker.first_start")
LIMIT_S = 900.0
LARGE = 64 << 20  # bytes of a language model's files: a second load of a smaller one costs more than the choice saves


def pays(settings: WorkerSettings, device: str, least: int = LARGE) -> bool:
    """Whether there is something to choose on this device, and a model of `least` bytes. Raises CheckpointError."""
    free = settings.dtype == "auto" and settings.runner == "auto" and settings.engine == "own"
    return free and device == "cpu" and settings.cache is not None and _llm_bytes(settings.model) >= least


def run(settings: WorkerSettings, command: Sequence[str] = COMMAND, limit_s: float = LIMIT_S) -> bool:
    """Whether a process loaded the model and kept its choices in `settings.cache`. It ends where this one does."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(settings.model_dump_json() + "\n")
            process.stdin.flush()  # and stays open: its end is that of this process
            status: object = process.wait(limit_s)
        except (OSError, subprocess.TimeoutExpired) as error:
            process.kill()
            status = type(error).__name__
    if status != 0:
        log.warning("the process that tries candidates failed (%s): they are tried in this one", status)
    return status == 0


def _llm_bytes(model: Path) -> int:
    from pandagpt_core.checkpoints import llm_path, read_model_folder  # torch comes with it, before its threads are set

    place = llm_path(model, read_model_folder(model).llm)
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(file.stat().st_size for file in files if file.is_file())
