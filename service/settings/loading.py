"""Reading the settings, and refusing what is not one.

Sources, strongest first: arguments of the command line, `PANDAGPT_<SECTION>_<NAME>` in the environment, the same in a
`.env` file of the working folder, and the TOML file that `PANDAGPT_CONFIG` names (`[section]` tables, `name = value`).
A `PANDAGPT_*` variable or a TOML key that is none of these refuses to start and names the nearest right one.
"""

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import TomlConfigSettingsSource as TomlSource

from service.settings.gateway import GatewaySettings
from service.settings.local import ClientSettings, LocalSettings
from service.settings.media import DecodeSettings, FetchSettings, MediaLimits
from service.settings.observability import LogSettings, TracingSettings
from service.settings.section import Section, SettingsError
from service.settings.store import StoreSettings
from service.settings.worker import WorkerSettings

PREFIX = "PANDAGPT_"
CONFIG_VARIABLE = "PANDAGPT_CONFIG"


class Settings(BaseSettings):
    """All sections. Made once, by `load`, at the edge of a process; parts get their section only."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_file=".env",
    )

    store: StoreSettings = StoreSettings()
    gateway: GatewaySettings = GatewaySettings()
    fetch: FetchSettings = FetchSettings()
    media: MediaLimits = MediaLimits()
    decode: DecodeSettings = DecodeSettings()
    worker: WorkerSettings = WorkerSettings()
    local: LocalSettings = LocalSettings()
    client: ClientSettings = ClientSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get(CONFIG_VARIABLE)
        toml = (TomlSource(settings_cls, Path(file)),) if file else ()
        return (init_settings, env_settings, dotenv_settings, file_secret_settings, *toml)


def load(overrides: Mapping[str, Mapping[str, object]] | None = None) -> Settings:
    """Read all sources once. `overrides` (section -> name -> value) are the command line's and win.

    Raises SettingsError with everything that is wrong, one complaint a line, never a value that may be a secret.
    """
    _refuse_unknown()
    try:
        return Settings(**{section: dict(values) for section, values in (overrides or {}).items()})  # type: ignore[arg-type]  # raw values: pydantic validates them
    except ValidationError as error:
        raise SettingsError("\n".join(_complaints(error))) from None


def variables() -> dict[str, tuple[str, str]]:
    """Every variable's name and the (section, name) it sets."""
    return {
        f"{PREFIX}{section}_{name}".upper(): (section, name)
        for section, fields in sections().items()
        for name in fields.model_fields
    }


def sections() -> dict[str, type[Section]]:
    """Section names and their classes, in the order of `Settings`."""
    return {name: field.annotation for name, field in Settings.model_fields.items() if _is_section(field.annotation)}  # type: ignore[misc]  # _is_section narrows it


def environment(overrides: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """The same overrides as variables, for a child process."""
    return {
        f"{PREFIX}{section}_{name}".upper(): json.dumps(value) if isinstance(value, dict) else str(value)
        for section, values in overrides.items()
        for name, value in values.items()
    }


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _refuse_unknown() -> None:
    known = [*variables(), CONFIG_VARIABLE]
    named = {name.upper(): name for name in (*os.environ, *dotenv_values(".env")) if name.upper().startswith(PREFIX)}
    wrong = [_unknown("variable", given, upper, known) for upper, given in named.items() if upper not in known]
    wrong += _unknown_toml_keys()
    if wrong:
        raise SettingsError("\n".join(wrong))


def _unknown_toml_keys() -> list[str]:
    file = os.environ.get(CONFIG_VARIABLE)
    if not file:
        return []
    try:
        tables = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: {file} is no TOML: {error}") from None
    known = [f"{section}.{name}" for section, name in variables().values()]
    given = [
        f"{table}.{name}" if name else table
        for table, values in tables.items()
        for name in (values if isinstance(values, dict) else [None])
    ]
    return [_unknown("key", key, key, known, f" in {file}") for key in given if key not in known]


def _unknown(kind: str, given: str, compared: str, known: Iterable[str], where: str = "") -> str:
    near = difflib.get_close_matches(compared, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else "; docs/settings.md lists them all"
    return f"unknown {kind} {given}{where}{hint}"


def _complaints(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
