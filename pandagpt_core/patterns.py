"""Look-aheads at the beginning of a pattern as patterns of their own, all of which have to match. No torch.

llguidance follows no look-around, but several patterns of one string. `^(?=A)(?!b)C` is `^A`, a pattern of what does
not begin with `b`, and `^C`. zod writes such patterns for host names, emoji and, in older releases, addresses of mail.
"""

import re
from collections.abc import Sequence

ANY = r"[\s\S]*"
ATOM = re.compile(r"\\[dwsDWS]|\\[^A-Za-z0-9]|\[\^?(?:\\.|[^\]\\])+\]|[^\\^$.|?*+()\[\]{}]")
LOOK_AHEAD = re.compile(r"\(\?[=!]")


def without_look_aheads(pattern: str) -> list[str] | None:
    """The patterns in its place; None where it has no such look-ahead, or one that cannot be written otherwise."""
    if not pattern.startswith("^") or not LOOK_AHEAD.match(pattern, 1):
        return None
    found, rest = [], pattern[1:]
    while LOOK_AHEAD.match(rest):
        end = _closing(rest)
        one = None if end is None else _pattern_of(rest[3:end], negative=rest[2] == "!")
        if end is None or one is None:
            return None
        found.append(one)
        rest = rest[end + 1 :]
    return None if _alternates(rest) else [*found, f"^{rest}"]


def _pattern_of(inside: str, negative: bool) -> str | None:
    if not negative:
        return f"^(?:{inside})" if _alternates(inside) else f"^{inside}"
    anywhere, inside = inside.startswith(".*"), inside.removeprefix(".*")
    whole, inside = inside.endswith("$") and not inside.endswith("\\$"), inside.removesuffix("$")
    atoms = ATOM.findall(inside)
    if not atoms or "".join(atoms) != inside or (anywhere and whole):
        return None
    return _absent(atoms) if anywhere else f"^{_not_begun(atoms, whole)}$"


def _not_begun(atoms: Sequence[str], whole: bool) -> str:
    """A text that does not begin with these characters; `whole`: that is not just these."""
    first, rest = atoms[0], atoms[1:]
    if rest:
        return f"(?:{_other(first)}{ANY}|{first}{_not_begun(rest, whole)})?"
    longer = rf"|{first}[\s\S]{ANY}" if whole else ""
    return f"(?:{_other(first)}{ANY}{longer})?"


def _absent(atoms: Sequence[str]) -> str | None:
    """A text without this character, or without two of it in a row; None for others."""
    first, other = atoms[0], _other(atoms[0])
    if len(atoms) == 1:
        return f"^{other}*$"
    return f"^{first}?(?:{other}+{first}?)*$" if list(atoms) == [first, first] else None


def _other(atom: str) -> str:
    """Any character but those of the atom."""
    if atom.startswith("[^"):
        return f"[{atom[2:]}"
    return f"[^{atom[1:]}" if atom.startswith("[") else f"[^{atom}]"


def _closing(text: str) -> int | None:
    """Index of the mark that ends the first group of `text`; None if it stays open."""
    return next((at for at, _, depth in _marks(text) if depth == 0), None)


def _alternates(text: str) -> bool:
    """Whether `|` stands outside of every group."""
    return any(mark == "|" and depth == 0 for _, mark, depth in _marks(text))


def _marks(text: str) -> list[tuple[int, str, int]]:
    """Of `(`, `)` and `|` that are no literals: the place, the mark, and how many groups are open after it."""
    found, depth = [], 0
    for one in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]", text, re.DOTALL):
        if (mark := one[0]) in "()|":
            depth += {"(": 1, ")": -1, "|": 0}[mark]
            found.append((one.start(), mark, depth))
    return found
