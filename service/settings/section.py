"""The base of every section of the settings, and the kinds of values in it.

A setting is set as `PANDAGPT_<SECTION>_<NAME>` or in a TOML table `[section]`. `docs/settings.md` is generated from
the sections: the unit of every number stands in brackets at the end of its description.
"""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

KIB = 1024
MIB = 1024 * KIB


class SettingsError(Exception):
    """The settings are wrong; the message is meant for the person who starts the service."""


def _split(value: object) -> object:
    """`a, b` from the environment as ("a", "b"); a TOML list as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


WordList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
NonEmpty = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
SecondsOrNone = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: immutable, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
