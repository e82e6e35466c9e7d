"""Slots of a prompt filled with rows of any number."""

import pytest
import torch
from torch import Tensor

from pandagpt_core.errors import InvalidRequest
from pandagpt_core.prompts import MediaSlot
from pandagpt_core.systems.checks import check_slots
from pandagpt_core.systems.prompting import fill, pseudo_id

TABLE = torch.arange(40.0).view(10, 4)
ROWS = {0: torch.full((3, 4), -1.0), 1: torch.full((1, 4), -2.0), 2: torch.arange(8.0).view(2, 4) - 99}


def rows(slot: MediaSlot) -> Tensor:
    return torch.cat([ROWS[index] for index in slot.media])


def test_slots_of_any_width_stand_where_the_prompt_has_them() -> None:
    inputs = fill([1, 2, MediaSlot((0,)), 3, MediaSlot((1, 2)), MediaSlot((1,))], lambda ids: TABLE[list(ids)], rows)
    expected = [TABLE[[1, 2]], ROWS[0], TABLE[[3]], ROWS[1], ROWS[2], ROWS[1]]
    assert torch.equal(inputs.embeds, torch.cat(expected))
    assert [token if token >= 0 else None for token in inputs.ids] == [1, 2, None, None, None, 3, *[None] * 4]
    soft = [pseudo_id(row) for row in torch.cat([ROWS[0], ROWS[1], ROWS[2], ROWS[1]])]
    assert [token for token in inputs.ids if token < 0] == soft


def test_media_that_no_slot_holds_are_refused() -> None:
    check_slots([1, MediaSlot((0, 1)), MediaSlot((2,))], 3)
    with pytest.raises(InvalidRequest, match="media must be in a user's turn"):
        check_slots([1, MediaSlot((0,))], 2)
