"""`pandagpt fetch`: a published system's files downloaded, verified, converted and tested, in one command."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import httpx

from pandagpt_core.training.evaluation.answerer import Answerer, Asked, Held
from pandagpt_core.types import Modality
from service import settings
from service.commands.models import convert
from service.commands.models.fetching.checksums import Checksums, DownloadError
from service.commands.models.fetching.disk_space import check_space
from service.commands.models.fetching.downloader import Downloader, locked
from service.commands.models.fetching.licences import Licence
from service.commands.models.fetching.locations import Publisher, given_location
from service.commands.models.fetching.originals import SYSTEMS, PublishedSystem, originals
from service.commands.models.fetching.plans import PlannedSum, absence, needs, plan_system
from service.commands.models.fetching.resolver import Resolver
from service.commands.operate import checks
from service.local.named_models import FETCHED, RECOGNISERS
from service.settings import SettingsError

PASSED_ON = ("dtype", "max_model_len", "lora_alpha", "imagebind_sizes", "eva_sizes")  # options of `pandagpt convert`
TIMEOUT_S = 60.0
# Models that come in packages and need no licence to be accepted: panda-small, made with panda-mini, and Whisper base.
PACKAGED: Mapping[str, Path] = MappingProxyType({**FETCHED, **RECOGNISERS})
BASE = Path("models/panda-mini")
QUESTION, TOKENS = "What is this?", 64
# The self-test's samples, with their subject.
KNOWN = ((Modality.IMAGE, "dog.png", "dog"), (Modality.AUDIO, "dog.flac", "dog"))


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "name",
        choices=(*SYSTEMS, *PACKAGED),
        help="which system; or panda-small or whisper-base, to which --out alone applies",
    )
    parser.add_argument("--accept-licence", action="store_true", help="accept the terms that are listed without it")
    parser.add_argument(
        "--from", dest="locations", action="append", default=[], metavar="URL|FOLDER",
        help="a mirror, or a folder with files that you have; looked at before the authors' addresses; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="model folder to make; must not exist (models/NAME)")
    parser.add_argument(
        "--downloads", type=Path, default=Path("models/originals"), help="folder of the files (models/originals)"
    )
    parser.add_argument("--self-test", action="store_true", help="ask the made folder about a known picture and sound")
    parser.add_argument("--samples", type=Path, default=Path("samples"), help="folder of those two media (samples)")
    passed_on = parser.add_argument_group("passed on to pandagpt convert")
    for name in PASSED_ON:
        passed_on.add_argument(f"--{name.replace('_', '-')}")


def run(arguments: argparse.Namespace) -> int:
    """Each step refuses before the next one begins."""
    if arguments.name in PACKAGED:
        return _fetch_packaged(arguments.name, arguments.out)
    system = SYSTEMS[arguments.name]
    out = arguments.out or Path("models") / arguments.name
    if not arguments.accept_licence:
        raise SettingsError(_terms(arguments.name, system))
    if out.exists():
        raise SettingsError(f"--out {out} exists; a model folder is never overwritten")
    if arguments.self_test:
        _known_media(arguments.samples)
    with locked(arguments.downloads):
        paths = _fetched(arguments, system, out)
    made = convert.run(_conversion(arguments, system, paths, out))
    return made or _checked(out) or (_tested(out, arguments.samples) if arguments.self_test else 0)


def _fetch_packaged(name: str, out: Path | None) -> int:
    """Nothing is downloaded where the folder is there. Raises CheckpointError."""
    from pandagpt_core.convert.downloads.panda_small import fetch_panda_small  # torch comes with both: not for help
    from pandagpt_core.convert.downloads.whisper_base import fetch_whisper_base

    target = out or PACKAGED[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    makers: Mapping[str, Callable[[Path, Callable[[str], None]], object]] = {
        "panda-small": partial(fetch_panda_small, BASE),
        "whisper-base": fetch_whisper_base,
    }
    makers[name](target, lambda line: print(f"{name}: {line}", file=sys.stderr, flush=True))
    print(target)
    return 0


def _terms(name: str, system: PublishedSystem) -> str:
    """One line a licence, and one a file that must be given."""
    by_licence: dict[Licence, list[str]] = {}
    for original in originals(system):
        by_licence.setdefault(original.licence, []).append(original.path)
    head = f"{name} is made of files under these terms; --accept-licence accepts them:"
    terms = [
        f"  {', '.join(paths)}: {licence.name} ({licence.terms}), {licence.page}"
        for licence, paths in by_licence.items()
    ]
    return "\n".join([head, *terms, *[f"  {absence(one)}" for one in originals(system) if one.url is None]])


def _fetched(arguments: argparse.Namespace, system: PublishedSystem, out: Path) -> dict[str, Path]:
    """Option of `pandagpt convert` -> the verified file or folder. Raises SettingsError, DownloadError."""
    with httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client:
        downloader = Downloader(client, Checksums(arguments.downloads), time.sleep)
        locations = [*[given_location(client, word) for word in arguments.locations], Publisher(client)]
        plans = plan_system(system, Resolver(arguments.downloads, locations, downloader.fetch), arguments.downloads)
        check_space(needs(plans, arguments.downloads, out))
        for wanted in [wanted for plan in plans.values() for wanted in plan.files]:
            downloader.fetch(wanted)
    return {option: _applied(plan) if isinstance(plan, PlannedSum) else plan.path for option, plan in plans.items()}


def _applied(plan: PlannedSum) -> Path:
    """The sum stays among the downloads, where the next call finds it."""
    from pandagpt_core.convert.delta import apply_delta  # torch comes with it: not for a page of help
    from service.commands.models.converters.common import Progress

    print(f"{plan.path}: {plan.delta.path.name} is applied to {plan.base.path.name}", file=sys.stderr, flush=True)
    apply_delta(plan.base.path, plan.delta.path, plan.path, Progress())
    print(file=sys.stderr)
    return plan.path


def _conversion(
    arguments: argparse.Namespace, system: PublishedSystem, paths: Mapping[str, Path], out: Path
) -> argparse.Namespace:
    words = ["--system", system.system, "--out", str(out), "--id", arguments.name]
    words += [word for option, path in paths.items() for word in (f"--{option}", str(path))]
    for name in PASSED_ON:
        if getattr(arguments, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    parser = argparse.ArgumentParser(prog="pandagpt convert")
    convert.configure(parser)
    return parser.parse_args(words)


def _checked(out: Path) -> int:
    """As `pandagpt doctor --only model` does: 1 where the folder does not hold what its config.json names."""
    findings = list(checks.model(settings.load({"worker": {"model": out}})))
    for one in findings:
        print(f"{one.level}  {one.what}")
    return int(any(one.level == "fail" for one in findings))


def _tested(out: Path, samples: Path) -> int:
    from pandagpt_core.training.evaluation.local import open_model  # torch comes with it

    answers = list(self_test(open_model(out), samples))
    for one in answers:
        print(f"{'ok' if one.passed else 'FAIL'}  {one.file}: {one.answer}")
    if not all(one.passed for one in answers):
        raise DownloadError("the folder was made, and the self-test failed: a known medium is not named in its answer")
    return 0


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """One medium of the test, the answer, and whether the subject is named in it."""

    file: str
    answer: str
    passed: bool


def _known_media(samples: Path) -> None:
    """Raises SettingsError where the samples are not there."""
    absent = [name for _, name, _ in KNOWN if not (samples / name).is_file()]
    if absent:
        raise SettingsError(f"--self-test needs {' and '.join(absent)} in {samples}: name their folder with --samples")


def self_test(model: Answerer, samples: Path) -> Iterator[KnownAnswer]:
    """Each of the known media that the model has a tower for."""
    for modality, name, subject in KNOWN:
        if modality in model.modalities:
            held = Held(modality, (samples / name).read_bytes(), name=name)
            answer = model.answer([Asked(QUESTION, (held,))], TOKENS)[0].strip()
            yield KnownAnswer(name, answer, subject in answer.lower())
