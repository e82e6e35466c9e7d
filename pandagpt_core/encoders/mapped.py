"""Weights that are seldom read lie in an unnamed file that is mapped, and not in memory."""

import torch
from torch import nn

from pandagpt_core.llm.openvino.mapped import MappedWeights

ROOM = 1 << 20  # bytes that aligning may take


def lay_apart(module: nn.Module) -> None:
    """Let a module's float32 weights on a CPU lie in a file: a page comes back by itself when it is read."""
    parameters = [p for p in module.parameters() if p.dtype == torch.float32 and p.device.type == "cpu"]
    room = MappedWeights(sum(parameter.nbytes for parameter in parameters) + ROOM)
    for parameter in parameters:
        parameter.data = torch.from_numpy(room.hold(parameter.detach().contiguous().numpy()))
    room.leave_memory()


def lay_tables_apart(module: nn.Module) -> None:
    """A text reads few rows of an embedding table, and the table of a small encoder is half of it."""
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            lay_apart(part)
