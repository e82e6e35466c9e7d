"""`pandagpt serve` on one machine, and the commands that call it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from service.settings.section import MIB, Count, NonEmpty, Seconds, SecondsOrNone, Section


class LocalSettings(Section):
    """`pandagpt serve`: gateway, worker and store on one machine."""

    state: Path = Field(default=Path(".state"), description="folder of the embedded store's data and of the lock")
    store_memory_bytes: Count = Field(default=2048 * MIB, description="memory of the embedded store (bytes)")
    stop_grace_s: SecondsOrNone = Field(
        default=10.0, description="time a child has to end before it is killed (seconds)"
    )
    restart_s: Seconds = Field(
        default=0.5, description="first pause before a dead child is restarted; doubles (seconds)"
    )
    restart_max_s: Seconds = Field(default=30.0, description="longest such pause (seconds)")


class ClientSettings(Section):
    """`pandagpt chat`: where the service is, and as whom to call it."""

    url: NonEmpty = Field(
        default="http://127.0.0.1:8000",
        description="address of the service. Unset: that of the `pandagpt serve` on `local.state`, else the default",
    )
    key: Annotated[SecretStr, Field(min_length=1)] | None = Field(default=None, description="API key, if one is needed")
