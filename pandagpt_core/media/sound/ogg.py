"""Chained Ogg (RFC 3533, section 4): whole streams one after another in one file, as radio stations write them."""

import re

from pandagpt_core.media.limits import check

_PAGE = re.compile(rb"OggS\x00([\x00-\x07])", re.DOTALL)  # capture pattern, version, flags
_BEGINS = 2  # flag of a logical stream's first page
MAX_LINKS = 256


def links(data: bytes) -> list[bytes]:
    """The streams of a chained file, each a file by itself; one where it is not chained.

    A link begins with the first pages of its streams, before all other pages of it. Raises InvalidMedia for too many.
    """
    starts, begins_before = [], False
    for page in _PAGE.finditer(data):
        begins = bool(page[1][0] & _BEGINS)
        if begins and not begins_before:
            starts.append(page.start())
            check(len(starts), MAX_LINKS, "the chained Ogg", "links")
        begins_before = begins
    if len(starts) < 2:
        return [data]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
