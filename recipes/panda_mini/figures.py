"""The figures of panda-mini, as `pandagpt eval` measures: `python -m recipes.panda_mini.figures MODEL [SETS...]`.

SETS: `validation`, which `make mini` measures too, and `reserved`, for when a model is finished. Without any only the
texts are filled. `figures.json` holds for each the report's JSON, and which weights were measured; the folder `report`
the tables and plots; the card, and what --fill names, the tables that `card` makes of it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pandagpt_core.checkpoints import NGRAMS, read_model_folder
from pandagpt_core.training.evaluation import EvaluationReport, Manifest, examine, markdown, plot
from pandagpt_core.training.evaluation.local import base_model, open_model
from recipes.panda_mini.data.packages import FetchError, fetch_all
from recipes.panda_mini.eval_manifest import write_mini
from recipes.panda_mini.holdout import write_reserved
from recipes.panda_mini.model_card import filled

SETS: dict[str, Callable[[Path, Path, int], Manifest]] = {"validation": write_mini, "reserved": write_reserved}
FIGURES, REPORT, CARD = "figures.json", "report", "README.md"

Examined = Callable[[Path, Path, str, int], EvaluationReport]


def main(
    said: Sequence[str] | None = None,
    fetch: Callable[[Path], object] = fetch_all,
    examined: Examined | None = None,
) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SETS", help=" or ".join(SETS))
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--thin", type=int, default=1, help="every so many items of each set, to try it")
    parser.add_argument("--fill", type=Path, nargs="*", default=[], help="other texts to fill than the model's card")
    asked = parser.parse_args(said)
    unknown = set(asked.sets) - SETS.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected {' or '.join(SETS)}")
    if asked.sets:
        try:
            fetch(asked.cache / "packages")
        except FetchError as error:
            parser.exit(1, f"{error}\n")
    model, sets = asked.model, asked.sets
    figures = measure(model, asked.cache, sets, asked.thin, examined) if sets else read(model)
    for text in (*asked.fill, asked.model / CARD):
        fill(text, figures)


def measure(
    folder: Path, cache: Path, sets: Sequence[str], thin: int = 1, examined: Examined | None = None
) -> dict[str, Any]:
    """Measure the sets, write their figures and reports and fill the card; all figures of these very weights.

    cache: where the packages of the recipe lie, under `packages`. Drops the figures of other weights. examined: the
    report of one set (`examine_set`).
    """
    weights = {name: digest for name, digest in read_model_folder(folder).files.items() if name != NGRAMS}
    known = read(folder) if (folder / FIGURES).exists() else {}
    figures = {**(known if known.get("weights") == weights else {}), "weights": weights}
    for name in [one for one in SETS if one not in sets and one not in figures]:
        for left in (folder / REPORT).glob(f"{name}.*"):
            left.unlink()
    for name in sets:
        report = (examined or examine_set)(folder, cache, name, thin)
        figures[name] = report.to_dict()
        (folder / REPORT).mkdir(exist_ok=True)
        (folder / REPORT / f"{name}.md").write_text(markdown(report), encoding="utf-8")
        plot(report, folder / REPORT / f"{name}.png")
    (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n")
    fill(folder / CARD, figures)
    return figures


def examine_set(folder: Path, cache: Path, name: str, thin: int) -> EvaluationReport:
    with TemporaryDirectory(dir=cache) as scratch:
        manifest = SETS[name](cache / "packages", Path(scratch), thin)
        return examine(open_model(folder), manifest, base_model(folder) if manifest.text_only else None, _tell)


def read(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((folder / FIGURES).read_text())
    return figures


def fill(text: Path, figures: dict[str, Any]) -> None:
    """Make the marked blocks of a text anew; a text that is not there has none."""
    if text.exists():
        text.write_text(filled(text.read_text(encoding="utf-8"), figures), encoding="utf-8")


def _tell(what: str, count: int) -> None:
    sys.stderr.write(f"{what}: {count} questions\n")


if __name__ == "__main__":
    main()
