"""The path of a request through the code stays short: the files that a reader of it opens."""

from benchmarks.trace_request import SIDES, CallTrace, own_moves, token_moves, traces

FILES = 55  # of gateway and worker together
MOVES = 120  # of a request without its tokens, in both
TOKEN_MOVES = 7  # in the gateway
TRIES = 8  # the calmest counts: under load bytes come in more pieces and the loop turns more often, which are walks too


def test_a_request_crosses_few_files_in_few_moves_and_each_token_fewer() -> None:
    assert any(_is_short(*traces()) for _ in range(TRIES))


def _is_short(few: CallTrace, many: CallTrace) -> bool:
    """By its files and moves; what holds at any load is asserted of each try."""
    assert len(few.walks["gateway"].files) > 20, "nothing was traced"
    assert len(few.walks["worker"].files) > 8, "nothing was traced"
    own = sum(own_moves(few, many, side) for side in SIDES)
    return len(few.files) <= FILES and own <= MOVES and round(token_moves(few, many, "gateway")) <= TOKEN_MOVES
