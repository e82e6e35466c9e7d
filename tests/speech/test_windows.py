"""A sound window by window, by a recogniser that notes what it was given."""

from dataclasses import dataclass, field

import numpy as np

from pandagpt_core.speech.base import (
    HeardWindow,
    SpeechOptions,
    SpeechState,
    SpokenSegment,
    is_over,
    joined_text,
    windows,
)
from pandagpt_core.types import SpeechInfo


@dataclass
class Noting:
    info: SpeechInfo = field(default_factory=lambda: SpeechInfo("speech-audio-v1", "x"))
    states: list[SpeechState] = field(default_factory=list)

    def hear(self, samples: np.ndarray, state: SpeechState, options: SpeechOptions) -> HeardWindow:
        self.states.append(state)
        number = len(self.states)
        segment = SpokenSegment(0, 1, f" {number}", (number,))
        return HeardWindow((segment,), min(state.frame + 2500, len(samples) // 160), "en", sampled=number == 2)


def test_windows_begin_where_the_last_one_ended_and_read_what_was_said_before() -> None:
    noting = Noting()
    heard = list(windows(noting, np.ones(70 * 16_000, np.int16), SpeechOptions()))
    assert [state.frame for state in noting.states] == [0, 2500, 5000]
    assert [state.context for state in noting.states] == [(), (1,), ()], "a sampled window's text is no context"
    assert joined_text([segment for one in heard for segment in one.segments]) == "1 2 3"


def test_windows_go_on_from_the_state_that_others_reached() -> None:
    samples = np.ones(70 * 16_000, np.int16)
    first, second, *_ = windows(Noting(), samples, SpeechOptions())
    state = SpeechState().after(first).after(second)
    assert [one.end for one in windows(Noting(), samples, SpeechOptions(), state)] == [7000]


def test_a_short_rest_is_no_window_and_a_short_sound_is_one() -> None:
    assert is_over(np.ones(16_000 + 800, np.int16), SpeechState(frame=100))
    assert not is_over(np.ones(800, np.int16), SpeechState())
    assert is_over(np.ones(0, np.int16), SpeechState())
