"""The store of a command: the one that the settings name, else that of a running `pandagpt serve`."""

from service import settings
from service.local import store as embedded


def with_store(chosen: settings.Settings) -> settings.Settings:
    """The settings with the store that was found. Raises SettingsError where there is none."""
    found = None if chosen.store.is_external else embedded.running(chosen.local.state)
    if found:
        chosen = chosen.model_copy(update={"store": chosen.store.model_copy(update={"url": found})})
    chosen.store.require()
    return chosen
