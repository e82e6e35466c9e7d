"""The settings themselves: small frozen sections, each passed to the part that needs it.

A setting is set as `PANDAGPT_<SECTION>_<NAME>` or in a TOML table `[section]`. `docs/settings.md` is generated from
this file: the unit of every number stands in brackets at the end of its description.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

KIB = 1024
MIB = 1024 * KIB


class SettingsError(Exception):
    """The settings are wrong; the message is meant for the person who starts the service."""


def _split(value: object) -> object:
    """`a, b` from the environment as ("a", "b"); a TOML list as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
NonEmpty = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
SecondsOrNone = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: immutable, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    sentinels: Words = Field(
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


class GatewaySettings(Section):
    """The HTTP side: address, authentication, limits of a request."""

    host: NonEmpty = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=8000, description="port to listen on; 0 takes a free one (port)")
    admin_port: Port = Field(
        default=0,
        description="own port for metrics; 0: /metrics on the main port, for loopback callers and admin keys (port)",
    )
    keys_file: Path | None = Field(
        default=None,
        description="API keys, one a line: `name sha256-of-the-key [class]`, the class user, reader, metrics, "
        "admin, or scopes by comma; read again when it changes and on SIGHUP. Unset: nobody needs a key",
    )
    open_access: bool = Field(
        default=False,
        description="allow listening beyond loopback without any keys file (otherwise that refuses to start)",
    )
    salt: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None, description="secret that separates tenants' cache keys. Unset: a random one, kept in the store"
    )
    default_model: NonEmpty | None = Field(
        default=None, description="model of a request that names none. Unset: the only one announced"
    )
    from_zero: Words = Field(
        default=(),
        description="models, by comma, whose requests wait in the queue while they have no worker, for an autoscaler "
        "that starts one; each must have had a worker before on this store",
    )
    from_zero_wait_s: Seconds = Field(
        default=300.0, description="how long such a request waits for a worker, before it fails as no_worker (seconds)"
    )
    page: bool = Field(default=True, description="serve the page at `/`")
    samples: Path = Field(default=Path("samples"), description="folder of media that the page offers to try")
    guide: Path = Field(
        default=Path("build/guide/site"),
        description="folder of the site that `make docs` builds, served at `/docs/guide/`",
    )
    cors_origins: Words = Field(default=(), description="origins that browsers may call from, by comma; `*` for any")
    max_body_bytes: Count = Field(default=256 * MIB, description="largest request body (bytes)")
    max_part_bytes: Count = Field(default=128 * MIB, description="largest single medium or upload (bytes)")
    max_field_bytes: Count = Field(default=1 * MIB, description="largest text field of a form (bytes)")
    max_fields: Count = Field(default=128, description="most fields of a form (fields)")
    max_header_bytes: Count = Field(default=32 * KIB, description="largest request head (bytes)")
    max_messages: Count = Field(
        default=256, le=1024, description="most messages of a conversation, 1024 at most (messages)"
    )
    max_media: Count = Field(default=32, description="most media of one request (media)")
    max_text_chars: Count = Field(default=200_000, description="most text of one request (characters)")
    batch_lines: CountOrNone = Field(
        default=16,
        description="requests of one batch that run at once, on the one gateway that runs batches; 0: this gateway "
        "runs none (requests)",
    )
    max_embed_inputs: Count = Field(
        default=2048, le=4096, description="most inputs of one request for embeddings, 4096 at most (inputs)"
    )
    max_embed_chars: Count = Field(
        default=2_000_000, description="most text of one request for embeddings (characters)"
    )
    max_tokens: Count = Field(
        default=8192,
        le=1_000_000,
        description="highest max_tokens that a request may ask for, a million at most (tokens)",
    )
    default_tokens: Count = Field(default=256, description="max_tokens of a request that names none (tokens)")
    lenient: bool = Field(
        default=False,
        description="ignore the parameters of `/v1` that would change the answer and are not offered, and name them in "
        "`x-ignored-params`; by default they are a 400",
    )
    ollama: bool = Field(default=False, description="serve Ollama's interface too, at `/api/chat` and the like")
    tools: Literal["auto", "refuse"] = Field(
        default="auto",
        description="a request with tools for a model that cannot choose to call one: auto answers without the tools "
        "and with a warning, refuse is a 400",
    )
    max_choices: Count = Field(default=8, le=64, description="highest n of a request, 64 at most (choices)")
    header_timeout_s: Seconds = Field(default=10.0, description="limit of reading a request's head (seconds)")
    body_timeout_s: Seconds = Field(default=120.0, description="limit of reading a request's body (seconds)")
    idle_timeout_s: Seconds = Field(
        default=75.0,
        description="how long a connection without a request stays open; longer than a proxy keeps one unused, else a "
        "request may come while it closes (seconds)",
    )
    request_timeout_s: Seconds = Field(default=600.0, description="deadline of a request from its arrival (seconds)")
    keep_alive_s: Seconds = Field(
        default=10.0, description="silence after which a stream gets a comment line (seconds)"
    )
    disconnect_grace_s: SecondsOrNone = Field(
        default=5.0,
        description="how long a streamed request whose events have ids lives on when its client goes away; one whose "
        "events have none is cancelled at once (seconds)",
    )
    retry_grace_s: SecondsOrNone = Field(
        default=30.0, description="the same for a request that was given an Idempotency-Key (seconds)"
    )
    send_buffer_bytes: Count = Field(
        default=1 * MIB, description="unsent stream above which a slow reader is cut off (bytes)"
    )
    send_timeout_s: Seconds = Field(default=30.0, description="how long a reader may take nothing (seconds)")
    retry_after_s: Seconds = Field(default=1.0, description="least Retry-After of a 503 (seconds)")
    rate_requests: CountOrNone = Field(default=0, description="requests per minute and key; 0: no limit (requests)")
    rate_tokens: CountOrNone = Field(default=0, description="tokens per minute and key; 0: no limit (tokens)")
    max_concurrent: CountOrNone = Field(default=0, description="running requests of one key; 0: no limit (requests)")
    max_files: Count = Field(default=1000, description="uploaded files that one key may hold (files)")
    max_files_bytes: Count = Field(default=1024 * MIB, description="uploaded files that one key may hold (bytes)")
    shutdown_delay_s: SecondsOrNone = Field(
        default=5.0,
        description="how long the gateway, not ready any more, still takes requests after SIGTERM, so that balancers "
        "notice; a connection without a request stays open for as long from its last answer; SIGINT skips it (seconds)",
    )
    drain_grace_s: SecondsOrNone = Field(
        default=30.0,
        description="how long running streams may end after that; what is left goes on at another gateway (seconds)",
    )

    @model_validator(mode="after")
    def _needs_keys_beyond_loopback(self) -> Self:
        if self.keys_file is None and not self.open_access and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines and no keys_file is set: set "
                f"PANDAGPT_GATEWAY_KEYS_FILE, or PANDAGPT_GATEWAY_OPEN_ACCESS=true if everyone there may use it"
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_HOST_ENTRY = re.compile(r"\*|((\*\.)?[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?")


class FetchSettings(Section):
    """Fetching media from URLs in requests; off unless hosts are named."""

    hosts: Words = Field(
        default=(),
        description="hosts that media may be fetched from, by comma: host, host:port, *.domain (what lies below it) or "
        "* (any with a public address); none: fetching is off",
    )
    private_ranges: Words = Field(
        default=(),
        description="address ranges in CIDR form, by comma, that may be fetched from in addition to public addresses, "
        "such as those of a private object store: 10.1.2.0/24, fd00:1::/64",
    )
    timeout_s: Seconds = Field(default=10.0, description="limit of all downloads of one request (seconds)")
    max_bytes: Count = Field(default=64 * MIB, description="largest download (bytes)")
    max_redirects: CountOrNone = Field(default=3, description="redirects followed, each checked anew (redirects)")
    max_concurrent: Count = Field(default=16, description="downloads of one gateway at once (downloads)")

    @model_validator(mode="after")
    def _names_hosts_only(self) -> Self:
        for entry in self.hosts:
            if not _HOST_ENTRY.fullmatch(entry):
                raise ValueError(f"hosts: {entry} is none of host, host:port, *.domain, *, in lower case")
        return self

    @model_validator(mode="after")
    def _ranges_are_networks(self) -> Self:
        for entry in self.private_ranges:
            try:
                ipaddress.ip_network(entry)
            except ValueError as error:
                raise ValueError(f"private_ranges: {entry} is no range in CIDR form: {error}") from None
        return self


class MediaLimits(Section):
    """What a medium may grow to when it is decoded. The names are those of `pandagpt_core.media.Limits`."""

    bytes: Count = Field(default=64 * MIB, description="size of a medium as sent (bytes)")
    table_bytes: Count = Field(default=8 * MIB, description="the same for CSV and JSON, which grow when parsed (bytes)")
    pixels: Count = Field(default=40_000_000, description="width times height of a picture (pixels)")
    aspect: Count = Field(default=200, description="longer over shorter side of a picture (ratio)")
    frames: Count = Field(default=18_000, description="frames of a video (frames)")
    video_pixels: Count = Field(default=9_000_000, description="width times height of a video frame (pixels)")
    frame_pixels: Count = Field(
        default=8_000_000_000, description="width times height times frames of a video (pixels)"
    )
    seconds: Seconds = Field(default=600.0, description="length of audio or video (seconds)")
    samples: Count = Field(default=60_000_000, description="samples of a sound, all channels (samples)")
    channels: Count = Field(default=8, description="channels of a sound (channels)")
    sample_rate: Count = Field(default=384_000, description="sample rate of a sound (hertz)")
    imu_rows: Count = Field(default=100_000, description="rows of an IMU recording (rows)")
    elements: Count = Field(default=16_000_000, description="numbers in an .npy array (numbers)")
    points: Count = Field(default=2_000_000, description="points of a point cloud (points)")
    characters: Count = Field(default=16_384, description="length of a context text (characters)")


class DecodeSettings(Section):
    """The confined children that turn bytes into arrays; as many others read Parquet, MATLAB and HDF5."""

    processes: Count = Field(default=2, description="children that decode at once (processes)")
    max_waiting: Count = Field(default=64, description="media that may wait for a child; above it 503 (media)")
    memory_bytes: Count = Field(default=1536 * MIB, description="address space of a child (bytes)")
    cpu_s: Seconds = Field(default=30.0, description="processor time for one medium (seconds)")
    wall_s: Seconds = Field(default=60.0, description="time for one medium (seconds)")
    recycle: Count = Field(default=200, description="media after which a child is replaced (media)")


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


class TracingSettings(Section):
    """Traces by OpenTelemetry (extra `otel`); off unless an endpoint is set."""

    otlp_endpoint: NonEmpty | None = Field(
        default=None, description="address of an OTLP collector over HTTP (http://127.0.0.1:4318); unset: no traces"
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="part of the traces that begin here; a caller's own decision holds (ratio)"
    )


class LogSettings(Section):
    """Logs go to standard error, one event a line."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is written"
    )
    format: Literal["json", "text"] = Field(default="json", description="json for machines, text for a terminal")
