"""panda-small, which has no licence to accept and is made of panda-mini and one downloaded file."""

import sys
from pathlib import Path

from service.local.named_models import FETCHED

BASE = Path("models/panda-mini")


def fetch_named(name: str, out: Path | None) -> int:
    """Nothing is downloaded where the folder is there. Raises CheckpointError."""
    from pandagpt_core.convert.panda_small import fetch_panda_small  # torch comes with it: not for a page of help

    target = out or FETCHED[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    fetch_panda_small(BASE, target, lambda line: print(f"{name}: {line}", file=sys.stderr, flush=True))
    print(target)
    return 0
