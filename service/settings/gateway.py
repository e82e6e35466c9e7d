"""The HTTP side: address, authentication, limits of a request."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from service.settings.section import (
    KIB,
    MIB,
    Count,
    CountOrNone,
    NonEmpty,
    Port,
    Seconds,
    SecondsOrNone,
    Section,
    WordList,
)


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
    from_zero: WordList = Field(
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
    cors_origins: WordList = Field(default=(), description="origins that browsers may call from, by comma; `*` for any")
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
    max_concurrent: CountOrNone = Field(
        default=0,
        description="requests of one key that are answered at once; one that its caller left, or that runs in the "
        "background, does not count; 0: no limit (requests)",
    )
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
        if self.keys_file is None and not self.open_access and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines and no keys_file is set: set "
                f"PANDAGPT_GATEWAY_KEYS_FILE, or PANDAGPT_GATEWAY_OPEN_ACCESS=true if everyone there may use it"
            )
        return self


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
