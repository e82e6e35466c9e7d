"""How many patterns a JSON schema holds one string to. The work of compiling doubles with each, so it is bounded here.

Patterns meet by `allOf`, by `$ref` with other keywords beside it, and where objects that meet have properties of one
name. Alternatives do not meet. The count is never too small: properties of one name at different depths are one.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pandagpt_core.errors import InvalidRequest

MAX_PATTERNS = 10
MAX_LEVELS = 200  # of schemas and references inside of one another
HERE, EACH = "", "*"
Counts = Mapping[str, int]  # patterns by the name of the property that they hold; HERE is the value itself


def check_patterns(schema: Any) -> None:
    """Raises InvalidRequest where more patterns meet than the limit."""
    counter = _Counter(schema)
    most = max((most for node in _nodes(schema) for most in counter.of(node).values()), default=0)
    if most > MAX_PATTERNS:
        raise InvalidRequest(f"the JSON schema holds a string to {most} patterns at once; the limit is {MAX_PATTERNS}")


class _Counter:
    def __init__(self, root: Any) -> None:
        self._root, self._known = root, dict[int, Counts]()

    def of(self, node: Any, level: int = 0) -> Counts:
        if not isinstance(node, Mapping):
            return {}
        if level > MAX_LEVELS:
            raise InvalidRequest(f"the JSON schema is more than {MAX_LEVELS} levels of references deep")
        if id(node) not in self._known:
            self._known[id(node)] = {}  # a schema that refers to itself adds nothing to itself
            self._known[id(node)] = self._counted(node, level + 1)
        return self._known[id(node)]

    def _counted(self, node: Mapping[str, Any], level: int) -> Counts:
        own = sum(name in node for name in ("pattern", "format"))
        meeting = [self.of(one, level) for one in _listed(node.get("allOf"))]
        alternatives = (self.of(one, level) for name in ("anyOf", "oneOf") for one in _listed(node.get(name)))
        inside = (_below(name, self.of(one, level)) for name, one in _members(node))
        found = [*meeting, self.of(self._target(node.get("$ref")), level), _most(alternatives), _most(inside)]
        return _sum([{HERE: own} if own else {}, *found])

    def _target(self, reference: Any) -> Any:
        """What a reference inside of the schema names; None for any other."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found = self._root
        for name in reference[1:].split("/")[1:]:
            key = name.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


def _members(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    properties = node.get("properties")
    yield from properties.items() if isinstance(properties, Mapping) else ()
    patterns = node.get("patternProperties")
    yield from ((EACH, one) for one in (patterns.values() if isinstance(patterns, Mapping) else ()))
    yield from ((EACH, one) for one in _listed(node.get("prefixItems")))
    yield from ((EACH, node.get(name)) for name in ("items", "additionalProperties"))


def _below(name: str, counts: Counts) -> Counts:
    """Of the schema of a member: its own patterns go by its name, those further below keep theirs."""
    return _most([{name: counts[HERE]} if HERE in counts else {}, {k: v for k, v in counts.items() if k != HERE}])


def _most(counts: Iterable[Counts]) -> Counts:
    found: dict[str, int] = {}
    for one in counts:
        found.update({name: max(count, found.get(name, 0)) for name, count in one.items()})
    return found


def _sum(counts: Iterable[Counts]) -> Counts:
    found: dict[str, int] = {}
    for one in counts:
        found.update({name: count + found.get(name, 0) for name, count in one.items()})
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _nodes(schema: Any) -> Iterator[Any]:
    """Every object inside, without recursion."""
    level = [schema]
    while level:
        one = level.pop()
        if isinstance(one, Mapping):
            yield one
            level += one.values()
        elif isinstance(one, list):
            level += one
