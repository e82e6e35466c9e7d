"""The npm package `openai`, unmodified, under Node: the checks of node/client.mjs, run once, looked at one by one."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.gateway.state import GatewayState
from tests.conftest import ROOT
from tests.contract import made
from tests.contract.conftest import Strict
from tests.contract.npm import installed

HERE = Path(__file__).with_name("node")
CACHE = ROOT / ".cache/contract-node"
PLAIN = {"messages": [{"role": "user", "content": "Tell me"}], "max_tokens": 5, "seed": 1}


@pytest.fixture(scope="session")
def package() -> Path:
    return installed(HERE, CACHE)


@pytest.fixture(scope="session")
def results(
    package: Path, gateway: tuple[str, GatewayState], _strict: Strict, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    picture = tmp_path_factory.mktemp("node") / "a.png"
    picture.write_bytes(made.PNG)
    script = package / "client.mjs"
    shutil.copy(HERE / "client.mjs", script)
    told = {
        "OPENAI_BASE_URL": f"{gateway[0]}/v1",
        "OPENAI_API_KEY": "none",
        "PICTURE": str(picture),
        "STRICT_URL": f"{_strict.url}/v1",
    }
    command = ["node", "--no-warnings", str(script)]
    ran = subprocess.run(
        command, env=os.environ | told, capture_output=True, text=True, timeout=500, check=False, cwd=package
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def error(name: str, status: int | None, code: str | None, param: str | None = None) -> dict[str, Any]:
    return {"name": name, "status": status, "code": code, "param": param}


EXPECTED: dict[str, Any] = {
    "usage": 7,
    "usage_of_stream": 7,
    "helper": True,
    "choices": [0, 1, 2],
    "logprobs": [2, 2, 2, 2, 2],
    "own_parameters": "chat.completion",
    "raw": {"ignored": "colour", "named": True},
    "models": ["fake", "fake"],
    "embeddings": {"unit": True, "same": True},
    "image_embedding": 1,
    "files": {"listed": True, "same": True, "deleted": True, "gone": "file_not_found"},
    "bad_request": error("BadRequestError", 400, "invalid_request", "temperature"),
    "not_found": error("NotFoundError", 404, "model_not_found", "model"),
    "too_long": error("BadRequestError", 400, "context_length_exceeded", "messages"),
    "failed_stream": error("APIError", None, "engine_error"),
    "timeout": error("APIConnectionTimeoutError", None, None),
    "wrong_key": error("AuthenticationError", 401, "invalid_api_key"),
}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_the_npm_package_gets_what_it_expects(results: dict[str, Any], name: str) -> None:
    assert results[name] == EXPECTED[name]


LOOKED_AT: dict[str, Callable[[Any, httpx.Client], bool]] = {
    "whole": lambda text, http: text == answer(http),
    "streamed": lambda text, http: text == answer(http),
    "image": lambda text, http: text.startswith("<image:"),
    "aborted": lambda id_, http: http.get(f"/v1/requests/{id_}").status_code == 200,
}


def answer(http: httpx.Client) -> str:
    text: str = http.post("/v1/chat/completions", json=PLAIN).json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("name", list(LOOKED_AT))
def test_the_npm_package_and_plain_http_agree(results: dict[str, Any], http: httpx.Client, name: str) -> None:
    assert LOOKED_AT[name](results[name], http), results[name]


def test_every_check_of_the_script_is_looked_at(results: dict[str, Any]) -> None:
    assert set(results) == set(EXPECTED) | set(LOOKED_AT)


def test_the_lock_file_names_no_registry() -> None:
    assert "resolved" not in (HERE / "package-lock.json").read_text(encoding="utf-8")
