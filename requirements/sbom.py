"""The software bill of materials: every locked package as a component of a CycloneDX 1.6 document, on standard output.

Versions come from requirements/lock.txt, no-deps.txt and mini.txt, licences from the metadata of the installed
packages, and from requirements/licences.toml where those name none or the package is not installed here.
"""

import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

LOCKS = tuple(Path(__file__).with_name(name) for name in ("lock.txt", "no-deps.txt", "mini.txt"))
LICENCES = Path(__file__).with_name("licences.toml")
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:==|>=)(?P<version>[^ ,;]+)[^;]*(?:; *(?P<marker>.*))?")
# How packages without an SPDX expression write it.
_SPELLINGS = {
    "MIT License": "MIT",
    "MIT license": "MIT",
    "The MIT License (MIT)": "MIT",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


@dataclass(frozen=True, slots=True)
class Component:
    """`licence` is an SPDX expression, None where it is not known. `installed`: whether it is here at all."""

    name: str
    version: str
    licence: str | None
    installed: bool


def components(locks: Iterable[Path] = LOCKS) -> Iterator[Component]:
    table = tomllib.loads(LICENCES.read_text(encoding="utf-8"))
    for line in chain.from_iterable(lock.read_text(encoding="utf-8").splitlines() for lock in locks):
        if match := _LINE.match(line):
            yield _component(match["name"], match["version"], table)


def _component(name: str, locked: str, table: dict[str, str]) -> Component:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return Component(name, locked, table.get(name), installed=False)
    return Component(name, distribution.version, _licence(distribution.metadata) or table.get(name), installed=True)


def _licence(metadata: Any) -> str | None:
    if expression := metadata.get("License-Expression"):
        return str(expression)
    text = (metadata.get("License") or "").strip()
    if _is_spdx(text):
        return text
    named = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if line.startswith("License")]
    known = dict.fromkeys(_SPELLINGS[name] for name in [*named, text] if name in _SPELLINGS)
    return " OR ".join(known) or None


def _is_spdx(text: str) -> bool:
    words = re.split(r" (?:AND|OR) |[()]", text)
    return bool(text) and all(
        re.fullmatch(r"(?:[A-Z0-9][A-Za-z0-9.]*-[A-Za-z0-9.-]+|MIT|ISC|0BSD|Zlib)?", word) for word in words
    )


def document() -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "name": "pandagpt", "licenses": [{"license": {"id": "Apache-2.0"}}]}
        },
        "components": [
            {
                "type": "library",
                "name": each.name,
                "version": each.version,
                "purl": f"pkg:pypi/{each.name.lower()}@{each.version}",
                **({"licenses": [{"expression": each.licence}]} if each.licence else {}),
            }
            for each in components()
        ],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2) + "\n")
