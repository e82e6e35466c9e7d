"""The part of requirements/lock.txt that extras need, on standard output: pinned, with hashes, for an installer.

    python requirements/locked.py serve               what `pandagpt[serve]` needs, torch's CUDA packages among it
    python requirements/locked.py --no-torch serve    without torch and its CUDA packages
    python requirements/locked.py --mark FOLDER       marks the lock on standard input (requirements/relock)

The last line of each package there names the extras that need it.
"""

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

LOCK = Path(__file__).with_name("lock.txt")
_MARK = "    # of: "
_OF_TORCH = ("torch", "nvidia-", "cuda-", "triton")


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each package's name and lines."""
    found: list[str] = []
    for line in text.splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            if found:
                yield name_of(found[0]), found
            found = [line]
        elif found and line.startswith("    "):
            found.append(line)
    if found:
        yield name_of(found[0]), found


def name_of(line: str) -> str:
    return re.split(r"[ =<>;\[]", line)[0].lower().replace("_", "-")


def is_torchs(name: str) -> bool:
    return name == "torch" or name.startswith(_OF_TORCH[1:])


def needed(text: str, extras: Collection[str], with_torch: bool) -> Iterator[str]:
    """The lines of the packages that one of these extras needs. Raises SystemExit for one that no package names."""
    found = [(name, lines, set(lines[-1].removeprefix(_MARK).split())) for name, lines in blocks(text)]
    if unknown := set(extras).difference(*(of for _, _, of in found)):
        raise SystemExit(f"requirements/lock.txt has no package of {', '.join(sorted(unknown))}: requirements/relock")
    for name, lines, of in found:
        if not of.isdisjoint(extras) and (with_torch or not is_torchs(name)):
            yield from lines[:-1]


def marked(text: str, extras: Mapping[str, set[str]]) -> Iterator[str]:
    """The lock with the line of extras at each package; `extras` gives the packages of each."""
    for name, lines in blocks(text):
        yield from lines
        yield _MARK + " ".join(extra for extra, names in extras.items() if name in names)


def _listed(folder: Path) -> dict[str, set[str]]:
    """The packages of each extra: a file of requirements each."""
    files = sorted(folder.iterdir())
    return {file.name: {name for name, _ in blocks(file.read_text(encoding="utf-8"))} for file in files}


def main(arguments: list[str]) -> None:
    if arguments[0] == "--mark":
        lines = marked(sys.stdin.read(), _listed(Path(arguments[1])))
    else:
        extras = [one for one in arguments if not one.startswith("--")]
        lines = needed(LOCK.read_text(encoding="utf-8"), extras, "--no-torch" not in arguments)
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
