"""Models that `pandagpt serve` takes by name: the repository's, and others that are fetched first."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from service.settings import SettingsError

_OWN = Path("models")
FETCHED: Mapping[str, Path] = MappingProxyType({"panda-small": Path(".cache/models/panda-small")})

RECOGNISERS: Mapping[str, Path] = MappingProxyType({"whisper-base": Path(".cache/models/whisper-base")})

FetchModel = Callable[[str, Path], None]  # a name, and the folder to make; raises SettingsError


def fetch_in_child(name: str, folder: Path) -> None:
    """In a process of its own: it needs torch, and the serving process does without. Raises SettingsError."""
    _fetched(name, folder, "worker.model", "Without --model panda-mini is served")


def _fetched(name: str, folder: Path, setting: str, otherwise: str) -> None:
    command = [sys.executable, "-m", "service.cli", "fetch", name, "--out", str(folder)]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SettingsError(f"{setting}: {name} cannot be had; the reason stands above. {otherwise}")


def recogniser_folder(speech: Path, fetch: FetchModel | None = None) -> Path:
    """The folder of the recogniser that `worker.speech` names: itself, or by name, fetched where it is not there."""
    folder = RECOGNISERS.get(str(speech))
    if folder is None:
        return speech
    if not (folder / "speech.json").is_file():
        (fetch or fetch_recogniser)(speech.name, folder)
    return folder


def fetch_recogniser(name: str, folder: Path) -> None:
    """In a process of its own, as `fetch_in_child`. Raises SettingsError."""
    _fetched(name, folder, "worker.speech", "Without --speech nothing is written down")


def model_folder(model: Path, fetch: FetchModel = fetch_in_child) -> Path:
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
