"""A batch whose gateway and worker are killed, at several moments: each line is run once and answered once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIConnectionError, InternalServerError, OpenAI

from pandagpt_core.types import Conversation, SamplingParams, Turn
from service.broker.keys import Keys
from tests.chaos.house import House, house, until
from tests.fakes import expected_text

LINES = 60
TOKENS = 12


@pytest.fixture
def building(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, gateways=1, workers=1, step_delay=0.03, batch_lines=4) as made:
        yield made


def line(number: int) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": TOKENS, "seed": number}
    return {"custom_id": f"id-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def wanted(number: int) -> str:
    params = SamplingParams(max_tokens=TOKENS, seed=number)
    return expected_text(Conversation((Turn("user", f"Question {number}"),)), params)


def gateway_and_worker(made: House) -> None:
    made.gateways[0].end()
    made.workers[0].end()


# Once so many lines have an answer.
KILLS: dict[int, Callable[[House], object]] = {
    0: lambda made: made.gateways[0].end(),
    10: lambda made: made.workers[0].end(),
    20: lambda made: made.gateways[0].end(),
    40: gateway_and_worker,
}


@pytest.mark.timeout(400)
def test_every_line_of_a_batch_is_answered_once_whatever_is_killed(building: House) -> None:
    with OpenAI(base_url=f"{building.addresses()[0]}/v1", api_key="none", max_retries=0) as client:
        data = "\n".join(json.dumps(line(number)) for number in range(LINES)).encode()
        file = client.files.create(file=("batch.jsonl", data), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        for answered, kill in KILLS.items():
            until(lambda least=answered: completed(client, batch.id) >= least, f"the answer {answered}", 120)
            assert completed(client, batch.id) < LINES
            kill(building)
            building.revive()
            building.wait_until_ready()
        until(lambda: retrieved(client, batch.id).status not in ("validating", "in_progress", "finalizing"), "it", 120)
        done = retrieved(client, batch.id)
        output = [json.loads(one) for one in client.files.content(done.output_file_id).text.splitlines()]
    assert (done.status, done.error_file_id) == ("completed", None)
    assert done.request_counts.model_dump() == {"total": LINES, "completed": LINES, "failed": 0}
    assert [one["custom_id"] for one in output] == [f"id-{number}" for number in range(LINES)]
    answers = [one["response"]["body"]["choices"][0]["message"]["content"] for one in output]
    assert answers == [wanted(number) for number in range(LINES)]
    with building.client as store:
        queued: Any = store.xinfo_stream(Keys().queue("fake", "batch"))
    assert queued["entries-added"] == LINES  # no line was sent in twice
    assert (building.gateways[0].starts, building.workers[0].starts) == (4, 3)


def retrieved(client: OpenAI, name: str) -> Any:
    """The batch; a gateway that has just started may find no store yet."""
    found: list[Any] = []

    def answered() -> bool:
        try:
            found.append(client.batches.retrieve(name))
        except (APIConnectionError, InternalServerError):
            return False
        return True

    until(answered, "the batch")
    return found[-1]


def completed(client: OpenAI, name: str) -> int:
    counts = retrieved(client, name).request_counts
    return 0 if counts is None else int(counts.completed)
