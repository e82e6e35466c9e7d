"""The benchmark of open streams, at a size that only shows that its parts fit: worker, gateway, clients, figures."""

from benchmarks.gateway_streams import COLUMNS, measure


def test_every_token_of_every_stream_is_seen_on_its_way_and_at_the_client() -> None:
    [row] = measure(streams=20, rates=[10], seconds=1.0)
    assert set(row) == {column.key for column in COLUMNS}
    assert row["streams"] == 20
    assert 0 < row["events"] < 20 * 10 * 2
    assert row["published"] > 0
    assert 0 < row["left50"] <= row["left99"]
    assert 0 < row["p50"] <= row["p99"] <= row["worst"]
    assert row["per_core"] > 0
