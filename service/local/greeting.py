"""Output of `pandagpt serve` for the person who started it."""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from pandagpt_core import autotune
from service.local import samples


class StartedService(Protocol):
    """The facts about the starting service that are shown."""

    @property
    def url(self) -> str: ...
    @property
    def model(self) -> Path: ...
    @property
    def state(self) -> Path: ...
    @property
    def cache(self) -> Path: ...
    @property
    def own_store(self) -> bool: ...


def opening(plan: StartedService) -> str:
    """Before anything runs."""
    where = f"embedded Valkey, data in {plan.state / 'store'}" if plan.own_store else "the one of PANDAGPT_STORE_URL"
    return f"PandaGPT {version('pandagpt')}\n  model  {plan.model}\n  store  {where}\nstarting ..."


def ready(plan: StartedService, seconds: float, keys_file: Path | None) -> str:
    """Once a request would be answered."""
    key = ' -H "Authorization: Bearer $KEY"' if keys_file else ""
    return "\n".join(
        [
            f"ready after {seconds:.1f} s: {plan.url}",
            *(f"  {line}" for report in autotune.saved(plan.cache) for line in report.lines()),
            "",
            f"  {plan.url}/  in a browser",
            f"  curl -N{key} -F prompt='What is this?' -F image=@{_picture()} -F stream=true {plan.url}/v1/generate",
            f"  {_command()} chat --url {plan.url}",
            f"  {plan.url}/docs",
            "",
            "Ctrl-C ends it.",
        ]
    )


def _command() -> str:
    """The command for the person: by name where the shell finds it, else by the path of this environment."""
    beside = Path(sys.executable).with_name("pandagpt")
    if shutil.which("pandagpt") or not beside.exists():
        return "pandagpt"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _picture(folder: Path = Path("samples")) -> str:
    return next((str(path) for kind, path in samples.found(folder) if kind == "image"), "dog.jpg")
