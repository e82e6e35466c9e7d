"""The list of system calls: each has its number on both architectures, and those are the kernel's."""

import re
from pathlib import Path

import pytest

from service.gateway.decoding.sandbox.syscalls import AARCH64, ALLOWED, NUMBERS, REFUSED, X86_64, none_of


def test_every_call_of_the_list_has_its_numbers() -> None:
    assert set(NUMBERS) == set(ALLOWED) | set(REFUSED)


@pytest.mark.parametrize(
    ("architecture", "header"),
    [(X86_64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), (AARCH64, "/usr/include/asm-generic/unistd.h")],
)
def test_the_numbers_are_those_of_the_kernels_headers(architecture: int, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"this machine has no {header}")
    text = Path(header).read_text(encoding="utf-8")
    defined = dict(re.findall(r"^#define __NR(?:3264)?_(\w+) (\d+)", text, re.MULTILINE))
    column = 0 if architecture == X86_64 else 1
    assert {name: int(defined[name]) for name in NUMBERS} == {name: both[column] for name, both in NUMBERS.items()}


def test_none_of_allows_no_bit_beside_those() -> None:
    check = none_of(2, 0b011)
    assert all(bits & check.mask in check.values for bits in (0b00, 0b01, 0b11))
    assert not any(bits & check.mask in check.values for bits in (0b100, 0b101, 1 << 31))
