"""Programs of other projects, by the commands of their guides: LiteLLM's proxy, lm-eval, guidellm; n8n by its bodies.

They are large (6 GB with torch), so they live in a virtual environment of their own:
`python -m venv .programs && .programs/bin/pip install -r requirements/programs.txt`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from service.local import ports
from service.settings import StoreSettings
from tests.conftest import ROOT
from tests.contract import made
from tests.contract.conftest import running, settings_for, store  # noqa: F401  a fixture
from tests.fakes import FAKE_INFO, FakeRuntime, worker_thread

ADDRESS = "http://127.0.0.1:8000"
PROXY = "http://127.0.0.1:4000"
BIN = Path(os.environ.get("PANDAGPT_PROGRAMS", ROOT / ".programs/bin"))
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
TIME_S = 400
pytestmark = pytest.mark.timeout(2 * TIME_S)


@pytest.fixture(scope="module")
def url(store: StoreSettings) -> Iterator[str]:  # noqa: F811  the fixture
    own = store.model_copy(update={"namespace": "programs"})
    runtime = FakeRuntime(info=replace(FAKE_INFO, id="panda-mini"))
    with worker_thread(own, runtime, lost_after_s=15.0), running(settings_for(own)) as (address, _):
        yield address


def installed(program: str) -> None:
    if not (BIN / program).is_file():
        pytest.skip(f"{program} is not installed: requirements/programs.txt")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs/guides" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI_", "LITELLM"))}
    return {**kept, **QUIET, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def ran(block: str, folder: Path) -> str:
    """A whole block of a page, line breaks and here-documents included, as a shell reads it."""
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=TIME_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def byte_tokenizer(folder: Path) -> None:
    """A tokenizer of 256 tokens in Hugging Face's files, one for each byte, as the model that pretends counts them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={one: at for at, one in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": alphabet[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))


def only_result(folder: Path) -> dict[str, Any]:
    [found] = folder.rglob("results_*.json")
    results: dict[str, Any] = json.loads(found.read_text())["results"]
    return results


def test_lm_eval_generates_and_compares_by_its_guide(url: str, tmp_path: Path) -> None:
    installed("lm-eval")
    generating, comparing = blocks("lm-eval.md", "sh")
    ran(generating.replace(ADDRESS, url), tmp_path)
    assert only_result(tmp_path / "generated")["mine"]["exact_match,none"] == 0
    byte_tokenizer(tmp_path / "tokenizer")
    ran(comparing.replace(ADDRESS, url), tmp_path)
    assert 0 <= only_result(tmp_path / "compared")["compared"]["acc,none"] <= 1


def test_guidellm_counts_every_request_of_its_guide_as_done(url: str, tmp_path: Path) -> None:
    installed("guidellm")
    [block] = blocks("guidellm.md", "sh")
    ran(block.replace(ADDRESS, url), tmp_path)
    [benchmark] = json.loads((tmp_path / "benchmarks.json").read_text())["benchmarks"]
    totals = benchmark["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"]) == (6, 0)
    assert benchmark["metrics"]["output_token_count"]["successful"]["median"] == 16


@pytest.fixture
def proxy(url: str, tmp_path: Path) -> Iterator[str]:
    installed("litellm")
    port = ports.choose("127.0.0.1", 0)
    [config] = blocks("litellm-proxy.md", "yaml")
    (tmp_path / "config.yaml").write_text(config.replace(ADDRESS, url))
    [start] = blocks("litellm-proxy.md", "sh")
    with (tmp_path / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", start.replace("4000", str(port))],
            cwd=tmp_path,
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, tmp_path / "output.txt")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def wait_for(address: str, process: subprocess.Popen[bytes], output: Path) -> None:
    limit = time.monotonic() + TIME_S
    while time.monotonic() < limit:
        assert process.poll() is None, output.read_text()[-3000:]
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"the proxy did not start in time: {output.read_text()[-3000:]}")


def test_the_litellm_proxy_of_the_guide_streams_an_answer_about_a_picture(proxy: str, tmp_path: Path) -> None:
    (tmp_path / "dog.png").write_bytes(made.PNG)
    [code] = blocks("litellm-proxy.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", code.replace(PROXY, proxy)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIME_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<image:")


def test_the_http_node_of_the_n8n_guide_gets_an_answer_about_a_picture(url: str) -> None:
    [block] = blocks("n8n.md", "json")
    [node] = json.loads(block)["nodes"]
    parameters = node["parameters"]
    assert (parameters["method"], parameters["contentType"]) == ("POST", "multipart-form-data")
    fields = parameters["bodyParameters"]["parameters"]
    files = {one["name"]: ("dog.png", made.PNG) for one in fields if one["parameterType"] == "formBinaryData"}
    data = {one["name"]: one["value"] for one in fields if one["parameterType"] == "formData"}
    answer = httpx.post(parameters["url"].replace(ADDRESS, url), data=data, files=files, timeout=30, trust_env=False)
    assert answer.json()["choices"][0]["message"]["content"].startswith("<image:")


@pytest.mark.parametrize("responses", [False, True])
def test_the_openai_nodes_of_n8n_list_models_and_get_an_answer(url: str, responses: bool) -> None:
    """The bodies of its chat model node (LangChain's for JavaScript), with "Use Responses API" off and on."""
    headers = {"authorization": "Bearer none"}
    with httpx.Client(base_url=f"{url}/v1", headers=headers, timeout=30, trust_env=False) as http:
        [model] = http.get("models").json()["data"]
        common = {"model": model["id"], "temperature": 0.7, "stream": False}
        if responses:
            text = [{"type": "input_text", "text": "Hello"}]
            asked = {
                "input": [{"type": "message", "role": "user", "content": text}],
                "text": {"format": {"type": "text"}},
            }
            answer = http.post("responses", json={**common, **asked, "parallel_tool_calls": True}).json()
            [message] = [one for one in answer["output"] if one["type"] == "message"]
            assert message["content"][0]["text"]
        else:
            messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
            more = {"messages": messages, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "n": 1}
            answer = http.post("chat/completions", json={**common, **more, "stream_options": None}).json()
            assert answer["choices"][0]["message"]["content"]
            assert answer["usage"]["total_tokens"] > 0
