"""Every setting of the service: `load()` once at the edge of a process, then pass each part its own section."""

from service.settings.gateway import GatewaySettings
from service.settings.loading import Settings, environment, load, sections, variables
from service.settings.local import ClientSettings, LocalSettings
from service.settings.media import DecodeSettings, FetchSettings, MediaLimits
from service.settings.observability import LogSettings, TracingSettings
from service.settings.section import Section, SettingsError
from service.settings.store import StoreSettings
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
