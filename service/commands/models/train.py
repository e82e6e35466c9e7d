"""`pandagpt train`: projection and LoRA of a model folder trained on conversations about media."""

import argparse
import sys
from pathlib import Path

from pandagpt_core.training.tune import read_tune_settings
from service.settings import SettingsError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's settings, a TOML file")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint of the run folder")
    parser.add_argument("--stop-after", type=int, default=0, metavar="STEPS", help="end after so many steps in all")


def run(arguments: argparse.Namespace) -> int:
    """Train, and print what was written. Under torchrun or `accelerate launch` every process runs this."""
    if arguments.stop_after < 0:
        raise SettingsError(f"--stop-after is {arguments.stop_after}; expected at least 0")
    try:
        from pandagpt_core.training.tune.run import train  # takes seconds to import
    except ModuleNotFoundError as error:
        raise SettingsError(f"training needs {error.name}: in the clone, pip install -e '.[train]'") from None

    settings = read_tune_settings(arguments.config)
    result = train(settings, resume=arguments.resume, stop_after=arguments.stop_after, report=_print_line)
    for name, path in result.written.items():
        print(f"{name:<8}  {path}")
    if "model" in result.written:
        print(f"serve it: pandagpt serve --model {result.written['model']}")
    elif result.written:
        print(f"stopped after step {result.step} of {result.steps}; --resume goes on")
    return 0


def _print_line(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
