"""A stream with a JSON schema whose worker is killed goes on within its schema, every token once."""

from pathlib import Path

from benchmarks.takeover import killed, service, together


def test_structured_streams_outlive_their_worker_word_for_word(tmp_path: Path) -> None:
    with service(tmp_path) as serving:
        plain = together(serving.url, range(8), lambda _: None)
        found = together(serving.url, range(8), killed(serving, 6))
    assert all(one.valid for one in found), [one.text for one in found]
    assert all(one.whole for one in found)
    assert [one.text for one in found] == [one.text for one in plain]
    assert len({one.text for one in found}) == 8
    assert [one.attempts for one in found] == [2] * 8
