"""OpenMP's threads in a worker: of torch and of the recogniser's library, each of which brings an OpenMP of its own.

Each process that loads a model to serve it, or to measure how it would be served, imports torch by this first.
"""

import os
from collections.abc import Mapping
from types import ModuleType

OMP_WAIT = "OMP_WAIT_POLICY"


def import_torch(threads: int = 0) -> ModuleType:
    """torch. Its threads sleep while they wait for one another, if torch was not imported before. 0 threads: torch's
    own choice."""
    let_threads_sleep()
    import torch  # not above: it reads the environment once, and takes a second

    if threads:
        torch.set_num_threads(threads)
    return torch


def let_threads_sleep() -> None:
    """For libraries that are imported from now on."""
    os.environ.update(waiting(os.environ))


def waiting(environment: Mapping[str, str]) -> dict[str, str]:
    """The setting that OpenMP reads at its start. By default its threads spin for milliseconds.

    A spinning thread keeps other processes off its core: an answer of 12 tokens took ten times as long there as with
    threads that sleep.
    """
    return {OMP_WAIT: environment.get(OMP_WAIT, "passive")}
