"""`pandagpt align`: one tower of a model folder trained on pairs, so that its media lie where their pictures lie."""

import argparse
import sys
from pathlib import Path

from pandagpt_core.training.align import read_align_settings
from service.settings import SettingsError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's settings, a TOML file")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint of the run folder")


def run(arguments: argparse.Namespace) -> int:
    """Align, and print what was written."""
    try:
        from pandagpt_core.training.align.run import align  # takes seconds to import
    except ModuleNotFoundError as error:
        raise SettingsError(f"training needs {error.name}: in the clone, pip install -e '.[train]'") from None

    settings = read_align_settings(arguments.config)
    done = align(settings, resume=arguments.resume, report=lambda line: print(line, file=sys.stderr, flush=True))
    print(f"model  {done.model}\nplot   {done.plot}\ntemperature {done.temperature:.3f}")
    print(f"its projection has not seen the new tower yet; serve it, or go on with `pandagpt train`: {done.model}")
    return 0
