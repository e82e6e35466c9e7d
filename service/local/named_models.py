"""Models that `pandagpt serve --model` takes by name: those of the repository, and those that are fetched first."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from service.settings import SettingsError

_OWN = Path("models")
FETCHED: Mapping[str, Path] = MappingProxyType({"panda-small": Path(".cache/models/panda-small")})

Fetch = Callable[[str, Path], None]  # a name, and the folder to make; raises SettingsError


def fetch_in_child(name: str, folder: Path) -> None:
    """In a process of its own: it needs torch, and what serves does without. Raises SettingsError."""
    command = [sys.executable, "-m", "service.cli", "fetch", name, "--out", str(folder)]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SettingsError(
            f"worker.model: {name} cannot be had; the reason stands above. Without --model panda-mini is served"
        )


def model_folder(model: Path, fetch: Fetch = fetch_in_child) -> Path:
    """The folder that `model` names: itself where it is one, else by name. A name of none is returned as it is."""
    if _is_folder(model) or str(model) != model.name:
        return model
    if _is_folder(_OWN / model):
        return _OWN / model
    folder = FETCHED.get(model.name, model)
    if folder != model and not _is_folder(folder):
        fetch(model.name, folder)
    return folder


def _is_folder(path: Path) -> bool:
    return (path / "config.json").is_file()
