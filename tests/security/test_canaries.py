"""Threat: log lines carried prompts and media.

Measures: log fields are an allow-list, library messages are cut to their first line and written from warning on only;
planted canaries appear in no line of any process at any level.
"""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from service import settings
from service.local import ports
from tests.conftest import Valkey
from tests.fakes import worker_process
from tests.security.neighbours import picture
from tests.wire import until

CANARY = "canary-91d7"
SECRET = f"sk-{CANARY}"
PLANTED = picture(9) + CANARY.encode()


def provoke(client: httpx.Client) -> set[int]:
    """Requests that succeed, that are refused in every way, and that break, all of them with canaries."""
    url = f"data:image/png;base64,{base64.b64encode(PLANTED).decode()}"
    image = {"type": "image_url", "image_url": {"url": url}}
    said = [{"type": "text", "text": CANARY}, {"type": "context_text", "context_text": CANARY}]
    chat = {"messages": [{"role": "user", "content": [*said, image]}], "max_tokens": 3, "user": CANARY}
    broken = {"type": "audio_url", "audio_url": {"url": f"data:x;base64,{base64.b64encode(CANARY.encode()).decode()}"}}
    answers = [
        client.post("/v1/chat/completions", json=chat),
        client.post("/v1/chat/completions", json={**chat, "stream": True, "stop": [CANARY]}),
        client.post("/v1/chat/completions", json={**chat, "temperature": CANARY}),
        client.post("/v1/chat/completions", json={**chat, CANARY: CANARY}),
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": [broken]}]}),
        client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": f"FAULT-STEP {CANARY}"}]}),
        client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": f"FAULT-REFUSED {CANARY}"}]}
        ),
        client.post("/v1/chat/completions", content=f"{{{CANARY}", headers={"content-type": "application/json"}),
        client.post("/v1/generate", data={"prompt": CANARY}, files={"image": (f"{CANARY}.png", PLANTED)}),
        client.post("/v1/generate", data={CANARY: CANARY}, files={CANARY: (CANARY, CANARY)}),
        client.post(
            "/v1/generate", content=CANARY * 100, headers={"content-type": f"multipart/form-data; boundary={CANARY}"}
        ),
        client.post("/v1/embeddings", json={"input": [CANARY, image]}),
        client.post("/v1/files", data={"purpose": "vision"}, files={"file": (f"{CANARY}.png", PLANTED)}),
        client.get(f"/v1/models/{CANARY}", params={CANARY: CANARY}),
        client.get(f"/{CANARY}", headers={"x-request-id": f"{CANARY} not plain", "cookie": CANARY}),
        client.get("/v1/models", headers={"authorization": f"Bearer {SECRET}", "user-agent": CANARY}),
        client.get("/v1/requests/x/events", headers={"last-event-id": CANARY}),
    ]
    return {answer.status_code for answer in answers}


async def test_no_process_writes_a_canary_at_its_most_talkative(valkey: Valkey, tmp_path: Path) -> None:
    output, port = tmp_path / "gateway.log", ports.choose("127.0.0.1", 0)
    given: dict[str, dict[str, object]] = {
        "gateway": {"port": port},
        "store": {"url": valkey.url},
        "decode": {"processes": 1},
        "log": {"level": "debug"},
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("PANDAGPT_")}
    with output.open("wb") as log, worker_process(valkey.settings):
        gateway = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "ignore", "-m", "service.cli", "gateway"],
            cwd=Path(__file__).parents[2],
            env=env | settings.environment(given),
            stdout=log,
            stderr=log,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:

                def ready() -> bool:
                    try:
                        return client.get("/health/ready").status_code == 200
                    except httpx.HTTPError:
                        return False

                await until(ready, timeout=60, what="the gateway")
                statuses = provoke(client)
        finally:
            gateway.terminate()
            gateway.wait(20)
    assert {200, 400, 404} <= statuses
    lines = output.read_text(encoding="utf-8", errors="replace")
    assert lines.count('"event": "request"') >= 17, "every request has its line"
    assert '"level": "debug"' in lines
    spellings = [CANARY, SECRET, base64.b64encode(CANARY.encode()).decode()[:12], CANARY.encode().hex()]
    for spelling in spellings:
        assert not re.search(re.escape(spelling), lines, re.IGNORECASE)
