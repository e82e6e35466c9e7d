"""Access rights of callers: keys hashed at rest and compared in constant time, access declared on every route.

A keys file has one key a line: `name sha256-of-the-key [class] [cache=group] [weight=number]`; `#` starts a comment. In
place of a class (`CLASSES`) may stand scopes by comma, as in `embed,files`. Keys of one cache group find one another's
media and prefixes in the caches, and so can learn by an answer's time that another of the group sent the same; without
it no key can. While others wait too, a key of weight 3 has three requests served for one of a key of weight 1, the
default. A route states its scope by a parameter `Annotated[Caller, Depends(Access(Scope.X))]`, or has
`dependencies=[Depends(public)]` for none.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from starlette.requests import Request

from service.gateway.access.tenants import Tenants
from service.gateway.errors import GatewayError
from service.gateway.observation import Observation
from service.settings import SettingsError
from service.settings.gateway import is_loopback

MAX_KEY_CHARS = 512
KEY_HEADERS = ("x-api-key", "api-key")  # of clients that do not send `Authorization`
_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
MIN_WEIGHT, MAX_WEIGHT = 0.1, 100.0
_LINE = "name sha256-of-the-key [class] [cache=group] [weight=number]"
_OPTIONS = {"cache", "weight"}


class Scope(StrEnum):
    INFER = "infer"
    EMBED = "embed"
    MODELS = "models"
    REQUESTS = "requests"
    FILES = "files"
    METRICS = "metrics"


_USER = frozenset({Scope.INFER, Scope.EMBED, Scope.MODELS, Scope.REQUESTS, Scope.FILES})
CLASSES: dict[str, frozenset[Scope]] = {
    "user": _USER,
    "reader": frozenset({Scope.MODELS}),
    "metrics": frozenset({Scope.METRICS}),
    "admin": frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. `tenant` is the salted name that separates what callers own in the store; `seen` is the
    record of the request that is made for its log line.

    `share` is whose share of the machine a request uses: the tenant's, and without keys the caller's address's.
    `weight` is how many of its requests are served for one of a share of weight 1 (no unit).
    `cache_group` is whose cached media and prefixes a request finds: the tenant's, or those of the key's group.
    """

    name: str
    tenant: str
    scopes: frozenset[Scope]
    share: str = ""
    seen: Observation = field(default_factory=Observation)
    cache_group: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    name: str
    sha256: str
    scopes: frozenset[Scope]
    cache_group: str | None = None
    weight: float = 1.0


ANONYMOUS = ApiKey("anonymous", "", _USER)


def key_class(key: ApiKey) -> str:
    """The class by which usage is counted: a key's own name would be a label without bounds."""
    if key is ANONYMOUS:
        return key.name
    return next((name for name, scopes in CLASSES.items() if scopes == key.scopes), "custom")


def read_keys(file: Path) -> list[ApiKey]:
    """Raises SettingsError with the line that is wrong, and for a file without keys."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise SettingsError("gateway.keys_file cannot be read as text") from None
    keys = [_read_key(number, line) for number, line in enumerate(lines, 1) if line.partition("#")[0].strip()]
    if not keys:
        raise SettingsError("gateway.keys_file holds no key")
    return keys


def _read_key(number: int, line: str) -> ApiKey:
    words = line.partition("#")[0].split()
    count = next((at for at, word in enumerate(words) if at >= 2 and "=" in word), len(words))
    placed, options = words[:count], [word.partition("=") for word in words[count:]]
    named = {name: value for name, _, value in options}
    if len(placed) not in (2, 3) or len(named) < len(options) or named.keys() - _OPTIONS:
        raise SettingsError(f"gateway.keys_file, line {number}: must be `{_LINE}`")
    group, weight = named.get("cache", ""), _weight(named.get("weight", "1"))
    if group and not _NAME.fullmatch(group):
        raise SettingsError(f"gateway.keys_file, line {number}: no plain name of a cache group")
    if weight is None:
        raise SettingsError(
            f"gateway.keys_file, line {number}: the weight must be a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
        )
    name, digest, kind = placed[0], placed[1].lower(), (*placed, "user")[2]
    if not _NAME.fullmatch(name) or not _HASH.fullmatch(digest):
        raise SettingsError(f"gateway.keys_file, line {number}: no plain name, or no SHA-256 in hexadecimal")
    scopes = CLASSES.get(kind) or frozenset(Scope(word) for word in kind.split(",") if word in set(Scope))
    if kind not in CLASSES and len(scopes) != len(kind.split(",")):
        raise SettingsError(
            f"gateway.keys_file, line {number}: the class must be one of {', '.join(CLASSES)}, or scopes by comma: "
            f"{', '.join(Scope)}"
        )
    return ApiKey(name, digest, scopes, group or None, weight)


def _weight(text: str) -> float | None:
    """None for one that is no number, or out of bounds."""
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if MIN_WEIGHT <= weight <= MAX_WEIGHT else None


class KeyRing:
    """Finds the key that a caller shows. Without keys every caller is `anonymous` and may use all but metrics."""

    def __init__(self, keys: Sequence[ApiKey] | None) -> None:
        self._keys = keys

    def replace(self, keys: Sequence[ApiKey]) -> None:
        """From the next request on."""
        self._keys = keys

    def find(self, headers: Mapping[str, str]) -> ApiKey:
        """The key of `Authorization: Bearer`, else of one of KEY_HEADERS. Raises `invalid_api_key`."""
        if self._keys is None:
            return ANONYMOUS
        token = _token(headers)
        if not 0 < len(token) <= MAX_KEY_CHARS:
            raise GatewayError("invalid_api_key", "A key is needed: Authorization: Bearer <key>.")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        found = None
        for key in self._keys:  # all of them, so that the time taken does not depend on the key
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            raise GatewayError("invalid_api_key", "The key is not valid.")
        return found


def _token(headers: Mapping[str, str]) -> str:
    """Empty where there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme:
        return token.strip() if scheme.lower() == "bearer" else ""
    return next((headers[name].strip() for name in KEY_HEADERS if name in headers), "")


class Access:
    """The dependency of a route that needs a scope; gives the caller."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        gateway: AccessState = request.app.state.gateway
        key = self.admit(request, gateway)
        kind = key_class(key)
        share = key.name if key is not ANONYMOUS else f"address:{_address(request)}"
        group = key.name if key.cache_group is None else f"group:{key.cache_group}"
        owner, share, group = await gateway.tenants.named(key.name, share, group)
        seen: Observation = request.state.observation  # `middleware.py` made it
        seen.key_class = kind
        return Caller(key.name, owner, key.scopes, share, seen, group, key.weight)

    def admit(self, request: Request, gateway: "AccessState") -> ApiKey:
        key = gateway.keys.find(request.headers)
        if self.scope not in key.scopes:
            raise GatewayError("permission_denied", f"This key may not use this endpoint ({self.scope.value}).")
        return key


class OperatorAccess(Access):
    """For metrics: a key of that scope, or a caller on this machine while the gateway listens to this machine only."""

    async def __call__(self, request: Request) -> Caller:
        gateway: AccessState = request.app.state.gateway
        here = request.client is not None and is_loopback(request.client.host)
        if not (here and is_loopback(gateway.host)):
            key = self.admit(request, gateway)
            return Caller(key.name, "", key.scopes)
        return Caller("local", "", frozenset({Scope.METRICS}))


class AccessState(Protocol):
    """The part of the application's state that access reads."""

    @property
    def keys(self) -> KeyRing: ...
    @property
    def host(self) -> str: ...
    @property
    def tenants(self) -> Tenants: ...


def _address(request: Request) -> str:
    """The connection's, never a header's. Of IPv6 the network that a household or a machine is given whole."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return ""
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def public() -> None:
    """The dependency of a route that anyone may call."""
