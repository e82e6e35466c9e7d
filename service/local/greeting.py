"""What `pandagpt serve` prints for the person who started it."""

from importlib.metadata import version
from pathlib import Path
from typing import Protocol

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


class Started(Protocol):
    """What is being started, as far as it is told."""

    @property
    def url(self) -> str: ...
    @property
    def model(self) -> Path: ...
    @property
    def state(self) -> Path: ...
    @property
    def own_store(self) -> bool: ...


def opening(plan: Started) -> str:
    """Before anything runs."""
    where = f"embedded Valkey, data in {plan.state / 'store'}" if plan.own_store else "the one of PANDAGPT_STORE_URL"
    return f"PandaGPT {version('pandagpt')}\n  model  {plan.model}\n  store  {where}\nstarting ..."


def ready(plan: Started, seconds: float, keys_file: Path | None) -> str:
    """Once a request would be answered."""
    key = ' -H "Authorization: Bearer $KEY"' if keys_file else ""
    return "\n".join(
        [
            f"ready after {seconds:.1f} s: {plan.url}",
            "",
            f"  curl -N{key} -F prompt='What is this?' -F image=@{_picture()} -F stream=true {plan.url}/v1/generate",
            f"  pandagpt chat --url {plan.url}",
            f"  {plan.url}/docs",
            "",
            "Ctrl-C ends it.",
        ]
    )


def _picture(folder: Path = Path("samples")) -> str:
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES) if folder.is_dir() else []
    return str(pictures[0]) if pictures else "dog.jpg"
