"""Address of the `pandagpt serve` on a state folder, for commands that call it."""

from pathlib import Path

from service.local import lock
from service.settings import Settings

_FILE = "address"


def announce(state: Path, url: str) -> None:
    """Write down the address of the service that holds the folder."""
    (state / _FILE).write_text(url, encoding="utf-8")


def running(state: Path) -> str | None:
    """The address of the `pandagpt serve` that runs on `state` now; None where none does."""
    if not lock.is_held(state):  # the file outlives a service that was killed
        return None
    try:
        return (state / _FILE).read_text(encoding="utf-8") or None
    except OSError:
        return None


def of_service(settings: Settings) -> str:
    """The address to call: the one that was set, else that of the service on the state folder, else the default."""
    if "url" in settings.client.model_fields_set:
        return settings.client.url
    return running(settings.local.state) or settings.client.url
