"""The Redis or Valkey between gateways and workers: its address, credentials, limits and lives."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from service.settings.section import MIB, Count, NonEmpty, Seconds, SecondsOrNone, Section, SettingsError, WordList


class StoreSettings(Section):
    """The Redis or Valkey between gateways and workers."""

    url: NonEmpty | None = Field(
        default=None,
        description="redis://, rediss:// or unix:// address, without password. Unset: `pandagpt serve` runs a Valkey "
        "of its own; `gateway` and `worker` alone need it",
    )
    username: NonEmpty | None = Field(default=None, description="ACL user")
    password: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None, description="password of the ACL user"
    )
    password_file: Path | None = Field(
        default=None,
        description="file that holds the password, in place of `password`; read at each new connection, so that it may "
        "be changed in place",
    )
    tls_ca_file: Path | None = Field(
        default=None, description="certificates of the authorities to trust with rediss://; unset: the system's"
    )
    tls_cert_file: Path | None = Field(default=None, description="client certificate with rediss://, PEM")
    tls_key_file: Path | None = Field(default=None, description="its key, PEM")
    cluster: bool = Field(default=False, description="the address is a node of a Redis Cluster")
    sentinels: WordList = Field(
        default=(),
        description="in place of `url`: host:port of the Redis Sentinels that know the store's master, by comma; a "
        "failover is followed",
    )
    sentinel_master: NonEmpty | None = Field(default=None, description="the master's name at the sentinels")
    sentinel_tls: bool = Field(
        default=False, description="reach the sentinels and the master by TLS, with the files of tls_*"
    )
    sentinel_username: NonEmpty | None = Field(default=None, description="ACL user at the sentinels")
    sentinel_password: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None, description="password at the sentinels"
    )
    sentinel_password_file: Path | None = Field(
        default=None, description="file that holds it, in place of `sentinel_password`"
    )
    namespace: NonEmpty = Field(
        default="pandagpt", description="first part of every key, so that one store can serve several"
    )
    connect_timeout_s: Seconds = Field(default=2.0, description="limit of connecting (seconds)")
    command_timeout_s: Seconds = Field(default=10.0, description="limit of one command (seconds)")
    # Commands take a fraction of a millisecond, so few connections carry thousands of requests. Many would all be made
    # in the same moment when that many requests come at once, and then none of them in time.
    pool: Count = Field(default=32, description="most connections of one process (connections)")
    max_queue: Count = Field(
        default=256,
        description="requests that may wait for one model, the last eighth of them of callers with few; "
        "above it 503 with Retry-After (requests)",
    )
    max_queue_bytes: Count = Field(
        default=1024 * MIB,
        description="store memory that one model's unfinished requests may hold, media included; above it 503 (bytes)",
    )
    patience_s: SecondsOrNone = Field(
        default=3.0,
        description="how long a request waits for a store that is away for a moment, as while it restarts, and then as "
        "long for workers to announce themselves to it again, before its 503; 0: not at all (seconds)",
    )
    request_ttl_s: Seconds = Field(
        default=3600.0, description="life of a request's events and state after its end (seconds)"
    )
    array_ttl_s: Seconds = Field(
        default=900.0, description="life of a decoded medium that waits for its encoder (seconds)"
    )
    embedding_ttl_s: Seconds = Field(
        default=86400.0, description="life of a cached embedding since its last use (seconds)"
    )
    embedding_cache_bytes: Count = Field(
        default=1024 * MIB,
        description="store memory that cached embeddings of 64 KiB and more may hold together; above it those that "
        "were used longest ago are dropped within a minute (bytes)",
    )
    file_ttl_s: Seconds = Field(default=86400.0, description="life of an uploaded file (seconds)")
    dead_letters: Count = Field(default=1000, description="given-up messages kept for a look (messages)")
    max_deliveries: Count = Field(
        default=3, description="attempts at a request before it fails as worker_lost (attempts)"
    )

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file: only one of the two can be set")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file: a certificate needs its key")
        tls = (self.tls_ca_file, self.tls_cert_file)
        by_tls = self.sentinel_tls or (self.url or "").startswith("rediss://")
        if any(file is not None for file in tls) and not by_tls:
            raise ValueError("tls_ca_file and tls_cert_file need an address with rediss://, or sentinel_tls")
        return self

    @model_validator(mode="after")
    def _sentinels_fit(self) -> Self:
        if bool(self.sentinels) != (self.sentinel_master is not None):
            raise ValueError("sentinels and sentinel_master: one needs the other")
        if self.sentinels and (self.url is not None or self.cluster):
            raise ValueError("sentinels: they name the store in place of url, and of no cluster")
        if self.sentinel_password is not None and self.sentinel_password_file is not None:
            raise ValueError("sentinel_password and sentinel_password_file: only one of the two can be set")
        for entry in self.sentinels:
            _host_and_port(entry)
        return self

    @property
    def is_external(self) -> bool:
        """Whether a store is named; else `pandagpt serve` runs one."""
        return self.url is not None or bool(self.sentinels)

    @property
    def sentinel_addresses(self) -> list[tuple[str, int]]:
        return [_host_and_port(entry) for entry in self.sentinels]

    def require(self) -> None:
        """For a process that cannot start without a store. Raises SettingsError."""
        if not self.is_external:
            raise SettingsError(
                "no store: set PANDAGPT_STORE_URL (redis://host:6379/0), or run `pandagpt serve`, which brings its own"
            )

    def required_url(self) -> str:
        """The address of a store that no sentinels name. Raises SettingsError."""
        self.require()
        if self.url is None:
            raise SettingsError("store.url is not set: the store is named by its sentinels")
        return self.url


def _host_and_port(entry: str) -> tuple[str, int]:
    """Of host:port or [address]:port; the port of a sentinel is 26379 unless given."""
    host, _, port = entry.rpartition(":") if not entry.endswith("]") and ":" in entry else (entry, "", "26379")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"sentinels: {entry} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)
