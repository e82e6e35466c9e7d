"""`pandagpt inspect`: how a file will be read, without a model: facts, warnings, and the array's picture."""

import argparse
import json
import sys
from pathlib import Path

from pandagpt_core import media
from pandagpt_core.errors import PandaGPTError
from pandagpt_core.media.pictures import preview
from pandagpt_core.modalities import FILE_MODALITIES, MODALITIES
from service.commands.client.talk import TalkError, parsed_option
from service.local import samples
from service.settings import SettingsError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("options", nargs="*", metavar="NAME=VALUE", help="parameters, as in unit=mm focal_px=518")
    parser.add_argument("--modality", choices=FILE_MODALITIES, help="what it is, where its name does not tell")
    parser.add_argument("--recipe", help="the recipe to read it by; panda-mini's by default")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write the array's picture here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print what will be read. 1 where the file is refused; SettingsError where there is none."""
    modality = arguments.modality or samples.modality(arguments.file)
    if modality is None:
        kinds = "|".join(FILE_MODALITIES)
        raise SettingsError(f"the name of the file does not tell what it is; add --modality {kinds}")
    recipe = arguments.recipe or MODALITIES[modality].inspected_by
    try:
        options = [parsed_option(modality, word) for word in arguments.options]
        array, notes = media.read(recipe, arguments.file.read_bytes(), dict(options), media.Limits())
    except OSError as error:
        raise SettingsError(f"cannot read the file: {error.strerror}") from None
    except (PandaGPTError, TalkError) as error:
        return _fail(str(error))
    if arguments.png is not None:
        arguments.png.write_bytes(preview.png(array))
    found = {"modality": modality, "recipe": recipe, "array": list(array.shape), **_noted(notes)}
    print(json.dumps(found, ensure_ascii=False) if arguments.json else "\n".join(_lines(found)))
    return 0


def _noted(notes: media.Notes) -> dict[str, object]:
    own = {name: one.value for name, one in notes.parameters.items()}
    return {"facts": notes.facts, "spans": notes.spans, "warnings": notes.warnings, "of the file": own}


def _lines(found: dict[str, object]) -> list[str]:
    facts = found.pop("facts")
    assert isinstance(facts, dict)
    rows = {**{name: value for name, value in found.items() if value not in ([], "", {})}, **facts}
    width = max(map(len, rows))
    return [f"{name:<{width}}  {_shown(value)}" for name, value in rows.items()]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def _fail(message: str) -> int:
    print(f"refused: {message}", file=sys.stderr)
    return 1
