"""The URLs, hosts and addresses that a gateway may fetch from. Whole fetches are tested in tests/security."""

import ipaddress

import pytest

from service.gateway.errors import GatewayError
from service.gateway.media.url_policy import MAX_URL_CHARS, AllowList, is_public, parse, public_or_in, unreachable
from service.settings import load
from service.settings.section import SettingsError


@pytest.mark.parametrize(
    ("entries", "inside", "outside"),
    [
        (("a.example",), ["http://a.example/", "https://A.EXAMPLE/x"], ["http://b.example", "http://x.a.example/"]),
        (("a.example",), [], ["http://a.example:81/", "http://a.example.evil.example/", "http://aa.example/"]),
        (("a.example:81",), ["http://a.example:81/"], ["http://a.example/"]),
        (("*.a.example",), ["http://x.a.example/", "http://x.y.a.example"], ["http://a.example/", "http://xa.example"]),
        (("*",), ["http://any.example/", "https://8.8.8.8/"], ["http://any.example:6379/"]),
        (("[2606:4700::1]",), ["http://[2606:4700::1]/"], ["http://[2606:4700::2]/"]),
    ],
)
def test_hosts_are_those_on_the_list(entries: tuple[str, ...], inside: list[str], outside: list[str]) -> None:
    allowed = AllowList(entries)
    assert all(parse(url) in allowed for url in inside)
    assert not any(parse(url) in allowed for url in outside)


@pytest.mark.parametrize("entry", ["http://a.example", "a example", "*.*", "A.EXAMPLE", "a.example/x", "a:b"])
def test_an_entry_that_is_no_host_refuses_to_start(entry: str) -> None:
    with pytest.raises(SettingsError):
        load({"fetch": {"hosts": [entry]}})


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


INSIDE = (
    "127.0.0.1 10.0.0.1 169.254.169.254 100.64.0.1 168.63.129.16 192.0.0.192 0.0.0.0 224.0.0.1 "
    "::1 fe80::1 fd00::1 ::ffff:8.8.8.8 64:ff9b::808:808 2002:a00:1:: 2001::1 ff02::1"
)


@pytest.mark.parametrize("address", INSIDE.split())
def test_addresses_that_lead_inside_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_a_url_is_taken_apart_into_what_is_connected_to() -> None:
    target = parse("HTTPS://Good.Example:8443/a%20b?c=d#part")
    assert (target.scheme, target.host, target.port, target.path) == ("https", "good.example", 8443, "/a%20b?c=d")
    assert target.authority == "good.example:8443"
    assert target.literal is None
    six = parse("http://[2606:4700::1]/")
    assert (six.authority, six.literal) == ("[2606:4700::1]", ipaddress.ip_address("2606:4700::1"))


@pytest.mark.parametrize("url", ["http://user@good.example/", "http://0x7f.1/", "http://127.1/", "ftp://good.example/"])
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse(url)
    assert caught.value.code == "invalid_request"


def test_a_url_beyond_the_limit_names_limit_and_length() -> None:
    with pytest.raises(GatewayError, match=f"{MAX_URL_CHARS + 1} characters; the limit is {MAX_URL_CHARS}"):
        parse("http://good.example/".ljust(MAX_URL_CHARS + 1, "x"))


@pytest.mark.parametrize(
    "entry",
    [
        "10.1.2.3", "10.1.2.3:9000", "127.0.0.1:9000", "169.254.169.254", "[::1]", "[fd00:1::5]:9000", "localhost",
        "store.localhost:9000", "*.localhost", "a.invalid", "*.invalid", "10.1", "0x7f.1", "*.1.2.3", "a..example",
        "-a.example", "a.example:0", "a.example:70000", "[::zz]",
    ],
)  # fmt: skip
def test_an_entry_that_can_never_be_fetched_from_has_a_reason(entry: str) -> None:
    assert unreachable(entry, public_or_in(()))


@pytest.mark.parametrize(
    "entry", ["*", "a.example", "a.example:81", "*.a.example", "8.8.8.8", "[2606:4700::1111]:81", "minio:9000"]
)
def test_an_entry_that_may_be_reached_has_none(entry: str) -> None:
    assert unreachable(entry, public_or_in(())) == ""


def test_an_entry_within_the_operators_ranges_may_be_reached() -> None:
    allowed = public_or_in(("10.1.2.0/24", "127.0.0.0/8", "fd00:1::/64"))
    reached = [entry for entry in ("10.1.2.3:9000", "localhost", "[fd00:1::5]") if not unreachable(entry, allowed)]
    assert len(reached) == 3
    assert unreachable("10.1.3.1", allowed)


def test_ranges_are_allowed_in_addition_to_public_addresses_and_nothing_else_is() -> None:
    allowed = public_or_in(("10.1.2.0/24", "fd00:1::/64"))
    inside = ["8.8.8.8", "2606:4700::1111", "10.1.2.0", "10.1.2.255", "fd00:1::5"]
    outside = ["10.1.1.255", "10.1.3.0", "127.0.0.1", "169.254.169.254", "fd00:2::5", "fd00:1::5%1", "::ffff:10.1.2.3"]
    assert [one for one in inside + outside if allowed(ipaddress.ip_address(one))] == inside


@pytest.mark.parametrize("entry", ["10.1.2.3/24", "10.1.2.0/33", "store.example", "10.1", "fd00:1::/129"])
def test_what_is_no_range_is_refused_with_the_settings(entry: str) -> None:
    with pytest.raises(SettingsError, match="private_ranges"):
        load({"fetch": {"private_ranges": [entry]}})
