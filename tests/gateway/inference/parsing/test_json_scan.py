"""The scan of a JSON body: the same wherever its bytes are cut, structure outside of strings, doubled keys."""

import json
import random
import string

import pytest

from service.gateway.inference.parsing.json_scan import LONG_STRING, JsonScan, bare_slashes


def scanned(body: bytes) -> JsonScan:
    scan = JsonScan()
    scan.feed(body)
    return scan


def test_a_scan_does_not_depend_on_where_the_bytes_are_cut() -> None:
    generator = random.Random(5)
    for _ in range(50):
        words = ["".join(generator.choices(string.printable + '\\"', k=generator.randrange(40))) for _ in range(20)]
        body = json.dumps({word: [word, {"a": word * 60}] for word in words}).encode()
        whole, cut = JsonScan(), JsonScan()
        whole.feed(body)
        at = 0
        while at < len(body):
            size = generator.randrange(1, 30)
            cut.feed(body[at : at + size])
            at += size
        assert not whole.has_doubled_key()
        assert not cut.has_doubled_key()
        outside = sum(mark in b",[{:" for mark in _outside(body))
        assert outside <= whole.structure <= outside + body.count(b'"')
        assert whole.escapes == cut.escapes == body.count(b"\\")  # none stands before a slash


def test_a_bare_slash_means_what_an_escaped_one_means() -> None:
    generator = random.Random(6)
    for _ in range(200):
        told = "".join(generator.choices('\\/ab"\n', k=generator.randrange(60)))
        body = json.dumps(told).replace("/", "\\/").encode()
        scan, at, parsed = JsonScan(), 0, b""
        while at < len(body):
            size = generator.randrange(1, 9)
            parsed += scan.feed(body[at : at + size])
            at += size
        assert json.loads(parsed + scan.rest()) == told
        assert b"\\/" not in parsed.replace(b"\\\\", b"")
    assert bare_slashes(b'"\\/\0"') == b'"\\/\0"', "what is no JSON stays none"


def test_marks_inside_of_strings_are_no_structure() -> None:
    assert scanned(json.dumps(",[{:" * 1000).encode()).structure == 0
    assert scanned(b'{"a":[1,2]}').structure == 4


@pytest.mark.parametrize(
    ("body", "doubled"),
    [
        ('{"a": 1, "a": 2}', True),
        ('{"b": [{"a": 1, "c": 0, "a": 2}]}', True),
        ('{"a": {"a": 1}}', False),
        ('[{"a": 1}, {"a": 2}]', False),
        ('{"a": 1, "a"', False),
        (f'{{"{"x" * LONG_STRING}y": 1, "{"x" * LONG_STRING}z": 2}}', False),
        (f'{{"{"x" * 2 * LONG_STRING}": 1, "{"x" * 2 * LONG_STRING}": 2}}', True),
    ],
)
def test_a_key_that_an_object_names_twice_is_found(body: str, doubled: bool) -> None:
    assert scanned(body.encode()).has_doubled_key() is doubled


def _outside(body: bytes) -> bytes:
    """The bytes outside of strings, one at a time."""
    found, inside, escaped = bytearray(), False, False
    for byte in body:
        if escaped:
            escaped = False
        elif inside and byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            inside = not inside
        elif not inside:
            found.append(byte)
    return bytes(found)
