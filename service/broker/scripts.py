"""The few things that must happen together, as Lua beside this file: each is one EVAL on keys of one hash tag.

Sent whole each time (under 5 KB): the store compiles a text once, and no cache of digests can go stale.
"""

from importlib import resources


def _read(name: str) -> str:
    return resources.files("service.broker").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


ADMIT = _read("admit")
SETTLE = _read("settle")
KEEP = _read("keep")
ANNOUNCE = _read("announce")
POSITION = _read("position")
SWEEP = _read("sweep")
RATE = _read("rate")
CLAIM = _read("claim")
RELEASE = _read("release")
DEPART = _read("depart")
ATTACH = _read("attach")
TAKE = _read("take")
ADVANCE = _read("advance")
PROLONG = _read("prolong")
EXPIRING = _read("expiring")
FORGET = _read("forget")
DELETE = _read("delete")
RECORD = _read("record")
