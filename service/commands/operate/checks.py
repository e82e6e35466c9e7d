"""The doctor's checks: each looks at one thing and returns what it found. None raises, none changes anything."""

import contextlib
import importlib.util
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pandagpt_core.autotune import AutotuneReport
from pandagpt_core.errors import CheckpointError
from service.broker.errors import BrokerError
from service.local import ports, supervisor
from service.local import store as embedded
from service.settings import Settings, SettingsError
from service.worker.torch_threads import import_torch

GIB = 1 << 30
HEADROOM = 1.5  # memory a worker needs for each byte of weights: float32 of some, activations, the key-value cache
LOADING = 16  # bytes that loading may take for each in the folder: a 4-bit file is float32 while it is measured
SLOW_STORE_S = 0.01


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one look. `todo` is a person's next step; empty where there is nothing to do."""

    check: str
    level: Literal["ok", "warn", "fail"]
    what: str
    todo: str = ""


def python(_settings: Settings) -> Iterator[Finding]:
    here = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("python", "ok", here)


def torch_and_device(settings: Settings) -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        todo = "pip install -e '.[worker]'; a gateway alone needs no torch"
        yield Finding("torch", "fail", "torch is not installed", todo)
        return
    torch = import_torch(settings.worker.threads)
    wanted, cuda = settings.worker.device, torch.cuda.is_available()
    yield Finding("torch", "ok", f"torch {torch.__version__}, CUDA {'is there' if cuda else 'is not there'}")
    try:
        device = torch.device(("cuda" if cuda else "cpu") if wanted == "auto" else wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        todo = "set PANDAGPT_WORKER_DEVICE to auto or cpu, or install a torch built for that device"
        yield Finding("device", "fail", f"worker.device is {wanted}, which torch cannot use here", todo)
        return
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        yield Finding("device", "ok", f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free")
    else:
        yield Finding("device", "ok", f"{device.type}, {torch.get_num_threads()} threads")


def media(_settings: Settings) -> Iterator[Finding]:
    missing = [name for name in ("PIL", "av", "soundfile", "ftfy", "regex") if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("media", "fail", f"not installed: {', '.join(missing)}", "pip install -e '.[media]'")
    else:
        yield Finding("media", "ok", "the decoders of pictures, sound and video are installed")


def model(settings: Settings) -> Iterator[Finding]:
    folder = settings.worker.model
    if not (folder / "config.json").is_file():
        todo = "name a folder with --model, or make one with `pandagpt convert`"
        yield Finding("model", "fail", f"{folder} is no model folder: it holds no config.json", todo)
        return
    if importlib.util.find_spec("torch") is None:
        return  # stated above
    from pandagpt_core import checkpoints

    try:
        described = checkpoints.read_model_folder(folder)
        checkpoints.verify_files(folder, described)
        checkpoints.llm_path(folder, described.llm)
    except CheckpointError as error:
        todo = "copy the folder again, or make it anew with `pandagpt convert`"
        yield Finding("model", "fail", error.message.replace("\n", "; "), todo)
        return
    files = len(described.files)
    yield Finding("model", "ok", f"{described.id}: {files} files, each with the digest that config.json names")


def memory(settings: Settings) -> Iterator[Finding]:
    free = _free_memory()
    if free is None:
        yield Finding("memory", "warn", "this system does not tell its free memory")
        return
    weights = _model_bytes(settings.worker.model)
    need = weights * HEADROOM + (settings.local.store_memory_bytes if not settings.store.is_external else 0)
    what = f"{free / GIB:.1f} GiB free; the model folder has {weights / GIB:.2f} GiB"
    if not settings.store.is_external:
        what += f", the embedded store may take {settings.local.store_memory_bytes / GIB:.1f} GiB"
    if need > free:
        todo = "a smaller model, PANDAGPT_WORKER_DTYPE=bfloat16 or int8, or less PANDAGPT_LOCAL_STORE_MEMORY_BYTES"
        yield Finding("memory", "warn", what, todo)
    else:
        yield Finding("memory", "ok", what)


def speed(settings: Settings) -> Iterator[Finding]:
    """The choices of a worker on this machine by measurement, with the figures: it loads the model as a worker does."""
    folder, free = settings.worker.model, _free_memory()
    if settings.worker.engine != "own":
        return  # another engine chooses by itself
    if not (folder / "config.json").is_file() or importlib.util.find_spec("torch") is None:
        return  # reported by the checks before
    weights = _model_bytes(folder)
    if free is not None and weights * LOADING > free:
        what = f"not measured: loading the model may take {weights * LOADING / GIB:.1f} GiB"
        yield Finding("speed", "warn", what, "the greeting of `pandagpt serve` has the figures of the worker's load")
        return
    import_torch(settings.worker.threads)
    from pandagpt_core.loading import RuntimeOptions, load_model  # takes seconds to import

    worker, reports = settings.worker, list[AutotuneReport]()
    try:
        load_model(
            folder,
            RuntimeOptions(device=worker.device, dtype=worker.dtype, runner=worker.runner, verify=False),
            report=reports.append,
        ).close()
    except (CheckpointError, ValueError) as error:
        yield Finding("speed", "fail", str(error), "leave PANDAGPT_WORKER_DTYPE and PANDAGPT_WORKER_RUNNER unset")
        return
    for report in reports:
        for line in report.lines():
            yield Finding("speed", "ok", line)


def store(settings: Settings) -> Iterator[Finding]:
    if not settings.store.is_external:
        try:
            embedded.binary()
        except SettingsError as error:
            yield Finding("store", "fail", str(error), "set PANDAGPT_STORE_URL to a Redis or Valkey of yours")
        else:
            yield Finding("store", "ok", "none is set: `pandagpt serve` runs a Valkey of its own, and it is installed")
        return
    from service.broker.connection import (  # a fast start of every command
        check_version,
        connect,
        server_info,
        store_errors,
    )

    client: Any = None
    try:
        with store_errors():
            client = connect(settings.store, name="doctor")
            took = min(_answer_time(client) for _ in range(5))  # the way there, not how busy this machine is
            info = server_info(client.info("server"))
            warning = check_version(info)
            name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
            yield Finding(
                "store", "warn" if warning else "ok", f"{name} answers in {took * 1000:.1f} ms", warning or ""
            )
            yield from _store_habits(client, took)
    except BrokerError as error:
        todo = "is it running, is PANDAGPT_STORE_URL its address, are user and password right?"
        yield Finding("store", "fail", error.message, todo)
    except ValueError:
        yield Finding(
            "store", "fail", "store.url is no address of a store", "redis://host:6379/0, rediss:// or unix://"
        )
    finally:
        if client is not None:
            client.close()


def _answer_time(client: Any) -> float:
    began = time.perf_counter()
    client.ping()
    return time.perf_counter() - began


def _store_habits(client: Any, took: float) -> Iterator[Finding]:
    if took > SLOW_STORE_S:
        todo = "put store, gateways and workers into one network"
        yield Finding("store", "warn", f"an answer takes {took * 1000:.0f} ms, and each token waits for one", todo)
    memory = client.info("memory")
    memory = memory if "maxmemory" in memory else next(iter(memory.values()), {})
    if memory.get("maxmemory_policy", "noeviction") != "noeviction":
        todo = "CONFIG SET maxmemory-policy noeviction: an evicted queue loses requests"
        yield Finding("store", "warn", f"a full store evicts keys ({memory['maxmemory_policy']})", todo)


def gateway(settings: Settings) -> Iterator[Finding]:
    ours = settings.gateway
    if ours.keys_file is not None:
        from service.gateway.access.auth import read_keys  # a fast start of every command

        try:
            yield Finding("keys", "ok", f"{len(read_keys(ours.keys_file))} keys")
        except SettingsError as error:
            yield Finding("keys", "fail", str(error), "one a line: name, SHA-256 of the key, class")
    main = _port("port", ours.host, ours.port, "--port")
    if main.level == "fail" and supervisor.is_ready(f"http://{ours.host}:{ours.port}"):
        yield Finding("port", "ok", f"a service is ready on {ours.host} port {ours.port}")
        return  # and the port of metrics is its own
    yield main
    if ours.admin_port:
        yield _port("metrics", ours.host, ours.admin_port, "PANDAGPT_GATEWAY_ADMIN_PORT")


def _port(check: str, host: str, port: int, setting: str) -> Finding:
    try:
        ports.choose(host, port)
    except SettingsError as error:
        what, _, _ = str(error).partition(";")
        return Finding(check, "fail", what, f"another port ({setting}), or end what uses this one")
    return Finding(check, "ok", f"{host} port {port} is free")


def _model_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _free_memory() -> int | None:
    """Bytes that could be taken now (Linux), within the control group's limit where there is one."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = 1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
        with contextlib.suppress(OSError, ValueError):
            group = Path("/sys/fs/cgroup")
            limit = int((group / "memory.max").read_text(encoding="ascii"))
            free = min(free, limit - int((group / "memory.current").read_text(encoding="ascii")))
        return free
    return None
