"""docs/media.md from the registry: `python -m pandagpt_core.media.page > docs/media.md`."""

import sys
from collections.abc import Iterator
from dataclasses import fields

from pandagpt_core.media.limits import Limits
from pandagpt_core.modalities import MODALITIES, Entry, Number, Parameter, Recipe, Selection

HEAD = """# Media

Files and their reading, by modality. Made from the registry (`pandagpt_core/modalities`) by `make openapi`; a test
holds it to the code. `pandagpt inspect FILE` and `POST /v1/media/inspect` show it for one file.

The bytes decide what a file is, not its name and not the type that a client gives. Recipes named `imagebind-*` are
bound to published checkpoints and read as the published loaders do; all others show what a viewer shows. An answer's
`warnings` and the header `x-warnings` hold what a reader remarked; `usage.media_spans` the seconds of a long medium
that were looked at. A medium that holds nothing (silence, one colour, no motion) adds nothing to the prompt but a
sentence that says so. Decoders run in confined children (docs/security.md) within the limits below.

Parquet, MATLAB and HDF5 are read in a child of their own, which starts with the first such file: that one waits some
seconds for it. Files of MATLAB 4 and gzip are refused in a sentence that names what is taken instead.
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *(line for entry in MODALITIES.values() for line in _section(entry))]).rstrip() + "\n"


def _section(entry: Entry) -> Iterator[str]:
    yield f"## {entry.name}"
    yield ""
    yield f"{entry.about[0].upper()}{entry.about[1:]}."
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield f"| files | {entry.formats or 'see its module'} |"
    if entry.reads:
        yield f"| read from the file | {entry.reads} |"
    if entry.mime:
        yield f"| suffixes | {', '.join(f'`{suffix}`' for suffix in entry.mime)} |"
    if entry.named:
        yield f"| with `{entry.name}` in the name | {', '.join(f'`{suffix}`' for suffix in entry.named)} |"
    yield f"| limits | {', '.join(_limit(name) for name in entry.limits)} |"
    yield ""
    yield "| recipe | array | how |"
    yield "| --- | --- | --- |"
    for recipe in entry.recipes:
        yield f"| `{recipe.name}` | {recipe.array} | {recipe.about}{_without(recipe)} |"
    yield ""
    if entry.parameters:
        yield "| parameter | form field | | where it is not given |"
        yield "| --- | --- | --- | --- |"
        for one in entry.parameters:
            yield f"| `{one.name}` | `{entry.form_field(one)}` | {_kind(one)}: {one.about} | {one.otherwise} |"
        yield ""


def _without(recipe: Recipe) -> str:
    names = ", ".join(f"`{name}`" for name in recipe.without)
    return f"; takes no {names}" if names else ""


def _limit(name: str) -> str:
    default = next(one.default for one in fields(Limits) if one.name == name)
    return f"`{name}` {default:,}"


def _kind(parameter: Parameter) -> str:
    match parameter:
        case Number(low=low, high=high, unit=unit):
            return f"{low:g} to {high:g}{' ' + unit if unit else ''}"
        case Selection(values=values):
            return " or ".join(f"`{value}`" for value in values)
    return "`true` or `false`"


if __name__ == "__main__":
    sys.stdout.write(page())
