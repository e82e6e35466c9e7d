"""Contestants that read a form of the weights which only their own converter writes: CTranslate2, onnxruntime-genai."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants.base import PipeContestant, without_paths
from benchmarks.contestants.entry import FieldEntry, peer_python
from benchmarks.lib import weights
from benchmarks.lib.absent import Absent
from benchmarks.lib.contestant import Contestant
from benchmarks.lib.options import BenchmarkOptions

CONVERT_S = 900.0


@dataclass(frozen=True, slots=True)
class PeerConverter:
    """A module of the peer that writes a model folder. `source`, `target`, `kind` are the options that name the Hugging
    Face folder, the folder to write and the precision; `more`: further arguments."""

    module: str
    source: str
    target: str
    kind: str
    more: Sequence[str] = ()

    def arguments(self, source: Path, target: Path, kind: str) -> list[str]:
        named = [self.source, str(source), self.target, str(target), self.kind, kind]
        return ["-m", self.module, *named, *self.more]


@dataclass(frozen=True, slots=True)
class ConvertedPeer:
    """`kinds`: its own word for each precision. `child`: the module that answers jobs in its environment."""

    name: str
    converter: PeerConverter
    kinds: dict[str, str]
    child: str


CTRANSLATE2 = ConvertedPeer(
    "ctranslate2",
    PeerConverter("ctranslate2.converters.transformers", "--model", "--output_dir", "--quantization"),
    {"fp32": "float32", "int8": "int8"},
    "benchmarks.contestants.ctranslate2_child",
)
# Of a prompt only the last position's logits are computed, as all others do.
_LAST_ONLY = ("--execution_provider", "cpu", "--extra_options", "prune_lm_head=true")
ONNXRUNTIME_GENAI = ConvertedPeer(
    "onnxruntime-genai",
    PeerConverter("onnxruntime_genai.models.builder", "--input", "--output", "--precision", _LAST_ONLY),
    {"fp32": "fp32", "int8": "int8", "int4": "int4"},
    "benchmarks.contestants.onnxruntime_genai_child",
)


def converted(peer: ConvertedPeer, precision: str) -> FieldEntry:
    name = f"{peer.name}:{precision}"

    def make(options: BenchmarkOptions) -> Contestant:
        python = peer_python(options, peer.name)
        model = model_folder(peer, precision, python, options.cache)
        settings = {"model": str(model), "precision": peer.kinds[precision]}
        return PipeContestant(name, python, peer.child, settings, options)

    return FieldEntry(name, make)


def model_folder(peer: ConvertedPeer, precision: str, python: str, cache: Path) -> Path:
    """The weights as the peer's converter writes them, once. Raises Absent where it fails."""

    def write(path: Path) -> None:
        source = weights.hf_folder(cache, endless=False)
        convert(python, peer.converter.arguments(source, path, peer.kinds[precision]))

    return weights.once(cache / f"{peer.name}-{precision}", write)


def convert(python: str, arguments: Sequence[str], limit_s: float = CONVERT_S) -> None:
    """Run a converter without a network. Raises Absent with its last line where it fails."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:  # the builder writes a cache where it is run
        try:
            done = subprocess.run(
                [python, *arguments],
                cwd=scratch,
                env=env,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Absent(f"its converter did not end within {limit_s:g} s") from None
    if done.returncode:
        print(done.stderr, file=sys.stderr, flush=True)
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise Absent(f"its converter failed: {without_paths(lines[-1])}")
