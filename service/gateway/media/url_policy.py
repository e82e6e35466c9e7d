"""The URLs and addresses that a gateway may fetch from: read strictly, allowed by name, checked by address.

A URL is matched whole against one narrow form, so that no two parsers can disagree about its host: no userinfo, no
backslash, no control character, no decimal or octal address. A host must be on the operator's list; every address it
resolves to must be a public one, for a name on the list may still point inside.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.gateway.errors import GatewayError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressPolicy = Callable[[Address], bool]

MAX_URL_CHARS = 4096
PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<six>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9\-._~:/@!$&'()*+,;=%]*)?(?P<query>\?[A-Za-z0-9\-._~:/?@!$&'()*+,;=%]*)?(?:#.*)?"
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Networks that `is_global` (IANA's special-purpose registries) lets pass and that lead inside, or elsewhere.
_INSIDE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # the host of an Azure machine
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.88.99.0/24",  # 6to4 relays
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)
_LOOPBACK = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
_UNICAST = ipaddress.IPv6Network("2000::/3")  # the assigned part; no mapped, translated, local or multicast address


def is_public(address: Address) -> bool:
    """Whether a packet to this address leaves for the public internet, and not for a host of ours."""
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address not in _UNICAST):
        return False
    outside = all(address not in network for network in _INSIDE if network.version == address.version)
    return address.is_global and not address.is_multicast and outside


def public_or_in(ranges: Sequence[str]) -> AddressPolicy:
    """Public addresses, and those of the operator's ranges (CIDR)."""
    networks = tuple(map(ipaddress.ip_network, ranges))

    def allowed(address: Address) -> bool:
        scoped = isinstance(address, ipaddress.IPv6Address) and address.scope_id
        return is_public(address) or (not scoped and any(address in network for network in networks))

    return allowed


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. `host` is lower case, an IPv6 address without its brackets; `path` holds the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def literal(self) -> Address | None:
        """The address, where the host is one."""
        return _address(self.host)


def parse(url: str) -> Target:
    """Raises `invalid_request` for all that is not plainly http or https."""
    scheme, colon, rest = url[:MAX_URL_CHARS].partition("://")
    authority, slash, path = rest.partition("/")
    found = _URL.fullmatch(f"{scheme.lower()}{colon}{authority.lower()}{slash}{path}")
    if len(url) > MAX_URL_CHARS:
        raise _refused(f"is a URL of {len(url)} characters; the limit is {MAX_URL_CHARS}")
    if found is None:
        raise _refused("must be a plain http or https URL, percent-encoded, without user or password")
    host = found["six"] or found["name"]
    port = int(found["port"] or PORTS[found["scheme"]])
    if not _is_host(host) or not 0 < port < 65536:
        raise _refused("has no plain host and port")
    return Target(found["scheme"], host, port, (found["path"] or "/") + (found["query"] or ""))


class AllowList:
    """The operator's hosts: `host` (default ports), `host:port`, `*.domain` (what lies below it), `*` (any)."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._entries = frozenset(entries)

    def __contains__(self, target: Target) -> bool:
        labels = target.host.split(".")
        below = [f"*.{'.'.join(labels[at:])}" for at in range(1, len(labels))] if target.literal is None else []
        host = f"[{target.host}]" if ":" in target.host else target.host
        port = "" if target.port == PORTS[target.scheme] else f":{target.port}"
        names = [f"{name}{port}" for name in (host, *below)]
        return any(name in self._entries for name in [*names, *([] if port else ["*"])])


def unreachable(entry: str, allowed: AddressPolicy) -> str:
    """The reason why an entry of the list allows no fetch at all; empty where it allows one. No name is looked up."""
    if entry == "*":
        return ""
    try:
        target = parse(f"http://{f'any{entry[1:]}' if entry.startswith('*.') else entry}/")
    except GatewayError:
        return "it is no plain host and port"
    special = target.host.rpartition(".")[2]  # RFC 6761
    if special == "invalid":
        return "such names exist nowhere"
    known = [target.literal] if target.literal else _LOOPBACK if special == "localhost" else []
    if known and not any(map(allowed, known)):
        return "its address is not public, and in none of fetch.private_ranges"
    return ""


def _is_host(host: str) -> bool:
    if _address(host) is not None:
        return True
    labels = host.split(".")
    # A name that ends in a number is an address to most resolvers, in many spellings; only the usual one passes.
    return all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refused(message: str) -> GatewayError:
    return GatewayError("invalid_request", message)
