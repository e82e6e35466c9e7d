"""Writes docs/settings.md from the settings: `python -m service.settings.page > docs/settings.md`."""

import sys
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from service.settings.loading import CONFIG_VARIABLE, PREFIX, sections
from service.settings.section import Section

_HEAD = f"""# Settings

Generated from `service/settings/` by `make openapi`; a test compares them.

A setting comes from these places, the strongest first:

1. an option of the command line;
2. the environment variable below;
3. the same variable in a `.env` file of the working folder;
4. the TOML file that `{CONFIG_VARIABLE}` names. There `{PREFIX}GATEWAY_PORT` is `port` in the table `[gateway]`.

A `{PREFIX}*` variable or a TOML key that is not listed here refuses to start.
"""


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join([_HEAD, *(_section(name, section) for name, section in sections().items())])


def _section(name: str, section: type[Section]) -> str:
    head = f"## {name}\n\n{section.__doc__}\n\n| variable | type | default | what (unit) |\n| --- | --- | --- | --- |\n"
    return head + "".join(_row(name, key, field) for key, field in section.model_fields.items())


def _row(section: str, name: str, field: FieldInfo) -> str:
    variable = f"{PREFIX}{section}_{name}".upper()
    return f"| `{variable}` | {_type(field.annotation)} | {_default(field.default)} | {field.description} |\n"


def _type(annotation: Any) -> str:
    if get_origin(annotation) in (Union, UnionType):
        return ", ".join(_type(part) for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "words"
    if get_origin(annotation) is dict:
        return "JSON object"
    if hasattr(annotation, "__metadata__"):
        return _type(get_args(annotation)[0])
    return {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Path": "path"}.get(
        annotation.__name__, "secret"
    )


def _default(value: object) -> str:
    if value is None or value is PydanticUndefined or value == ():
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(page())
