"""Every setting of the service: `load()` once at the edge of a process, then pass each part its own section."""

from service.settings.loading import Settings, environment, load, sections, variables
from service.settings.sections import (
    ClientSettings,
    DecodeSettings,
    FetchSettings,
    GatewaySettings,
    LocalSettings,
    LogSettings,
    MediaLimits,
    Section,
    SettingsError,
    StoreSettings,
    TracingSettings,
)
from service.settings.worker import WorkerSettings

__all__ = [
    "ClientSettings",
    "DecodeSettings",
    "FetchSettings",
    "GatewaySettings",
    "LocalSettings",
    "LogSettings",
    "MediaLimits",
    "Section",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "TracingSettings",
    "WorkerSettings",
    "environment",
    "load",
    "sections",
    "variables",
]
