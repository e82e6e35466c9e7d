"""A mark for tests of huge pages: they need a kernel that makes some when it is asked to."""

import platform
import re

import pytest

from service.worker import huge_pages

SINCE = (6, 1)  # of Linux, MADV_COLLAPSE


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])


needs_huge_pages = pytest.mark.skipif(
    huge_pages.page_size() == 0 or _release() < SINCE,
    reason="this system has no huge pages, or forbids them, or its Linux is before 6.1",
)
