"""Which modules a browser needs before the first of them runs: those that it imports by name, and theirs in turn.

A module that only its importer names is fetched one round trip later; the index names all of them instead. Modules
behind `import()` are not among them.
"""

import re
from collections.abc import Mapping
from posixpath import dirname, join, normpath

_STATIC = re.compile(r'^(?:import|export)\b[^;"]*?"(\.[^"]+)"', re.MULTILINE)
_LATER = re.compile(r'\bimport\("(\.[^"]+)"\)')


def needed_at_once(path: str, files: Mapping[str, bytes]) -> list[str]:
    """The module at `path` and all that it imports, each after the one that names it first."""
    found = [path]
    for module in found:
        found += [one for one in named(module, files[module], _STATIC) if one not in found]
    return found


def imported(path: str, content: bytes) -> list[str]:
    """Every module that this one names, at once or later."""
    return [*named(path, content, _STATIC), *named(path, content, _LATER)]


def named(path: str, content: bytes, pattern: re.Pattern[str]) -> list[str]:
    """Paths of the modules that the pattern finds in the module at `path`."""
    places = dict.fromkeys(pattern.findall(content.decode()))
    return [normpath(join(dirname(path), place)) for place in places]
