"""The walk of a request through the code stays short. The bounds leave room for how the network cuts its bytes."""

from benchmarks.trace_request import FEW, MANY, CallTrace, traces

FILES = 65  # of gateway and worker together
GATEWAY_MOVES = 180  # of a request with FEW tokens, theirs among them
TOKEN_MOVES = 8  # in the gateway
TRIES = 3  # under load a token's bytes come in more pieces, each of which is a walk: the calmest counts


def test_a_request_crosses_few_files_and_each_token_fewer() -> None:
    assert any(_token_moves(*traces()) <= TOKEN_MOVES for _ in range(TRIES))


def _token_moves(few: CallTrace, many: CallTrace) -> int:
    """Of one token more; what holds at any load is asserted of each try."""
    gateway, longer = few.walks["gateway"], many.walks["gateway"]
    assert len(gateway.files) > 20, "nothing was traced"
    assert len(few.walks["worker"].files) > 8, "nothing was traced"
    assert len(set().union(*(walk.files for walk in few.walks.values()))) <= FILES
    assert len(gateway.moves) <= GATEWAY_MOVES
    return round((len(longer.moves) - len(gateway.moves)) / (MANY - FEW))
