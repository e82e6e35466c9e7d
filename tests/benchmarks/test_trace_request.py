"""The walk of a request through the code stays short. The bounds leave room for how the network cuts its bytes."""

from benchmarks.trace_request import FEW, MANY, traces

FILES = 65  # of gateway and worker together
GATEWAY_MOVES = 180  # of a request with FEW tokens, theirs among them
TOKEN_MOVES = 8  # in the gateway


def test_a_request_crosses_few_files_and_each_token_fewer() -> None:
    few, many = traces()
    gateway, longer = few.walks["gateway"], many.walks["gateway"]
    assert len(gateway.files) > 20, "nothing was traced"
    assert len(few.walks["worker"].files) > 8, "nothing was traced"
    assert len(set().union(*(walk.files for walk in few.walks.values()))) <= FILES
    assert len(gateway.moves) <= GATEWAY_MOVES
    assert round((len(longer.moves) - len(gateway.moves)) / (MANY - FEW)) <= TOKEN_MOVES
