"""OpenVINO's core, which compiles and reads all graphs of a process."""

import functools

import openvino as ov


@functools.cache
def core() -> ov.Core:
    """One for the process, never freed.

    A core installs a stack for signals, and restores the stack it found when it is freed. Two cores freed in the order
    of their making leave the first one's stack installed, which is unmapped: the next signal ends the process.
    """
    return ov.Core()
