"""The wall between decoding libraries and callers: every error of a library becomes one fixed sentence."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pandagpt_core.errors import InvalidMedia


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn any exception of a decoder into InvalidMedia with a message of our own.

    Library messages have carried heap addresses and paths to callers (vLLM CVE-2026-22778), so they only stay as the
    exception's cause. Decoders raise nearly every built-in exception on hostile bytes, hence the broad clause. Their
    warnings (odd metadata, Pillow's own bomb threshold beside ours) are of no use to the caller and are dropped.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InvalidMedia:
        raise
    except Exception as error:
        if type(error) is MemoryError:  # the process is out of memory; PyAV's subclasses mean a container's limits
            raise
        raise InvalidMedia(f"the {what} cannot be decoded: it is damaged, cut short or not what it claims") from error
