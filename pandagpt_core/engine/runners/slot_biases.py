"""The layers' biases of the sequences in slots, in one tensor that stays where it is, so that graphs can read it."""

import torch
from torch import Tensor

from pandagpt_core.llm.llama import LayerBias
from pandagpt_core.llm.torch_backend import TorchLlama


class SlotBiases:
    """`rows` [slots, L, D], zeros where a sequence has no bias. Without memory until the first that has one."""

    def __init__(self, llm: TorchLlama, slots: int) -> None:
        self._shape, self._device = (slots, llm.config.layers, llm.config.width), llm.device
        self.rows: Tensor | None = None

    @torch.inference_mode()  # the rows may have been made in it; such rows can be changed in it alone
    def put(self, slot: int, bias: Tensor | None) -> None:
        """The bias [L, D] of the sequence that begins in a slot."""
        if self.rows is None and bias is not None:
            self.rows = torch.zeros(self._shape, device=self._device)
        if self.rows is not None:
            self.rows[slot] = 0.0 if bias is None else bias.float()

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """A sequence goes to another slot."""
        if self.rows is not None:
            self.rows[target] = self.rows[source]

    def of(self, slots: list[int]) -> LayerBias | None:
        """For packed tokens, each of the sequence in its slot."""
        return None if self.rows is None else LayerBias(self.rows, torch.tensor(slots, device=self._device))
