"""Open WebUI itself before the gateway: a message sent as its page sends it, with its tools and background requests.

It is a large package (1.6 GB) of many pinned others, so it lives in a virtual environment of its own, and the test is
skipped without one: `PANDAGPT_OPEN_WEBUI=<its program> make test ARGS=tests/contract/test_open_webui.py`.
"""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.local import ports
from tests.contract.scripted import Scripted, scripted_gateway
from tests.scripted import SCRIPTED_INFO, SENTENCE, ScriptedRuntime

PROGRAM = os.environ.get("PANDAGPT_OPEN_WEBUI") or shutil.which("open-webui")
START_S, ANSWER_S = 900, 240
pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="Open WebUI is not installed (PANDAGPT_OPEN_WEBUI)"),
    pytest.mark.timeout(1800),
]
BACKGROUND = ("Generate a concise title", "Generate 1-3 broad tags")  # in the prompts of its background requests
SETTINGS = {
    "ENABLE_OLLAMA_API": "false",
    "ENABLE_PERSISTENT_CONFIG": "false",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "RAG_EMBEDDING_ENGINE": "openai",
    "WEBUI_AUTH": "false",
    "WEBUI_SECRET_KEY": "secret",
    "OPENAI_API_KEY": "none",
    "ANONYMIZED_TELEMETRY": "false",
}


class Page:
    """Requests of the page in the browser."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def sign_in(self) -> bool:
        """Whether the server answers yet."""
        try:
            answer = self._http.post("/api/v1/auths/signin", json={"email": "", "password": ""})
        except httpx.TransportError:
            return False
        if answer.status_code == 200:
            self._http.headers["authorization"] = f"Bearer {answer.json()['token']}"
        return answer.status_code == 200

    def models(self) -> list[str]:
        return [model["id"] for model in self._http.get("/api/models").json()["data"]]

    def send(self, text: str, model: str) -> dict[str, Any]:
        """Send a first message, and wait for the answer as the chat keeps it."""
        asked, answered = str(uuid.uuid4()), str(uuid.uuid4())
        user = {"id": asked, "parentId": None, "childrenIds": [answered], "role": "user", "content": text}
        reply = {"id": answered, "parentId": asked, "childrenIds": [], "role": "assistant", "content": ""}
        history = {"messages": {asked: user, answered: reply}, "currentId": answered}
        chat: dict[str, Any] = {"title": "New Chat", "models": [model], "history": history}
        name = self._http.post("/api/v1/chats/new", json={"chat": {**chat, "messages": [user, reply]}}).json()["id"]
        body = {
            "stream": True,
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "features": {},
            "session_id": str(uuid.uuid4()),
            "chat_id": name,
            "id": answered,
            "parent_id": asked,
            "user_message": user,
            "background_tasks": {"title_generation": True, "tags_generation": True},
        }
        started = self._http.post("/api/chat/completions", json=body)
        assert started.status_code == 200, started.text

        def message() -> dict[str, Any]:
            found = self._http.get(f"/api/v1/chats/{name}").json()["chat"]["history"]["messages"]
            return dict(found.get(answered, {}))

        wait_for(lambda: message().get("done") or message().get("error"), ANSWER_S)
        return message()


def wait_for(done: Callable[[], object], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < limit, "Open WebUI did not get so far in time"
        time.sleep(0.5)


@pytest.fixture(scope="module", params=["auto", "forced"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A model that calls tools by itself, and one that does not."""
    runtime = ScriptedRuntime(info=replace(SCRIPTED_INFO, tools=request.param))
    with scripted_gateway(tmp_path_factory.mktemp("model"), runtime) as scripted:
        yield scripted


@pytest.fixture(scope="module")
def page(models: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder, port = tmp_path_factory.mktemp("open-webui"), ports.choose("127.0.0.1", 0)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {**SETTINGS, "DATA_DIR": str(folder), "OPENAI_API_BASE_URL": f"{models.url}/v1"}
    assert PROGRAM is not None
    with (folder / "output.txt").open("wb") as output:
        command = [Path(PROGRAM), "serve", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, cwd=folder)
    page = Page(f"http://127.0.0.1:{port}")
    try:
        wait_for(page.sign_in, START_S)
        yield page
    finally:
        page.close()
        process.terminate()
        process.wait(timeout=60)


def test_a_message_of_the_page_gets_an_answer(page: Page, models: Scripted) -> None:
    assert page.models() == ["scripted"]
    answer = page.send("How is the weather?", "scripted")
    assert "error" not in answer
    assert answer["content"] == SENTENCE
    first = models.runtime.seen[0][0]
    calls_by_itself = models.runtime.info.tools == "auto"
    assert (len(first.tools) > 20) is calls_by_itself
    kinds = [part["type"] for part in answer.get("output", [])]
    assert ("function_call" in kinds) is calls_by_itself

    def asked_in_the_background() -> bool:
        texts = [conversation.turns[-1].text for conversation, _ in models.runtime.seen]
        return all(any(words in text for text in texts) for words in BACKGROUND)

    wait_for(asked_in_the_background, ANSWER_S)
