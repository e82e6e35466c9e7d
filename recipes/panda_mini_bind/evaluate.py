"""Figures of panda-mini-bind beside the default's: the same media, the same question, the same harness, one table.

`python -m recipes.panda_mini_bind.evaluate` measures and fills the card.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.runtime import Runtime
from pandagpt_core.training.evaluation import EvaluationReport, Manifest, examine
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.examine import NamedItems, Names
from pandagpt_core.training.evaluation.local import AT_ONCE, LocalModel
from pandagpt_core.training.evaluation.manifest import ConceptEntry
from pandagpt_core.types import Modality
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.eval_manifest import write_mini
from recipes.panda_mini_bind.card import FIGURES, write_card
from recipes.panda_mini_bind.points.meshes import NamedMesh

DEFAULT, BIND, CACHED = "panda-mini", "panda-mini-bind, no cache", "panda-mini-bind, cache"
EVERY = 12  # every so many items of each set


def main(said: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/panda-mini-bind"))
    parser.add_argument("--default", type=Path, default=Path("models/panda-mini"))
    parser.add_argument("--cache", type=Path, default=Path(".cache/mini"))
    parser.add_argument("--every", type=int, default=EVERY, help="every so many items of each set")
    asked = parser.parse_args(said)
    figures = measure(asked.model, asked.default, asked.cache, asked.every)
    write(asked.model, figures)


def write(folder: Path, figures: Mapping[str, Any]) -> None:
    """The figures and the card that shows them. The file's other figures stay, if they are of these weights."""
    path = folder / FIGURES
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept = known if known.get("weights") == figures["weights"] else {}
    path.write_text(json.dumps({**kept, **figures}, indent=2) + "\n", encoding="utf-8")
    write_card(folder)


def measure(folder: Path, default: Path, cache: Path, every: int) -> dict[str, Any]:
    """Of the default's validation sets. cache: where the packages of its recipe lie, under `packages`."""
    with TemporaryDirectory(dir=cache) as scratch:
        whole = write_mini(cache / "packages", Path(scratch), every)
        manifest = msgspec.structs.replace(whole, text_only=(), nothing=())
        reports = {name: report.to_dict()["rows"] for name, report in examined(folder, default, manifest).items()}
    return {"weights": read_model_folder(folder).files, "every": every, "systems": reports}


def examined(folder: Path, default: Path, manifest: Manifest) -> dict[str, EvaluationReport]:
    """Of each system; a medium is encoded once for all."""
    first = LocalModel(_opened(default))
    reports = {DEFAULT: examine(first, manifest, progress=_tell)}
    runtime = _opened(folder)
    ways = {BIND: LocalModel(runtime, {"cache_size": 0}, first), CACHED: LocalModel(runtime, like=first)}
    for name, model in ways.items():
        report = examine(model, manifest, progress=_tell)
        reports[name] = dataclasses.replace(report, rows=tuple(row for row in report.rows if row.measure == "answer"))
    return reports


def points(folder: Path, meshes: Sequence[NamedMesh]) -> dict[str, Any]:
    """Shares of right names for meshes that nothing was trained on, sent as their files, with the cache and without."""
    runtime = _opened(folder)
    concepts = [ConceptEntry(one.name, one.cat) for one in load_concepts()]
    names, truths = Names(concepts), tuple(mesh.concept for mesh in meshes)
    asked = [Asked("What is this?", (Held(Modality.POINTS, mesh.data, name=mesh.name),)) for mesh in meshes]
    plain = LocalModel(runtime, {"cache_size": 0})
    rows = []
    for name, model in ((BIND, plain), (CACHED, LocalModel(runtime, like=plain))):
        said = tuple(names.named(answer) for answer in model.answer(asked, 16))
        rows.append(names.row(NamedItems("answer", name, "points", said, truths)).to_dict())
    return {"points": rows, "points_largest": max(truths.count(one) for one in truths) / len(truths)}


def _opened(folder: Path) -> Runtime:
    """bfloat16 for all, so that nothing is chosen by a measurement of speed."""
    return load_model(folder, RuntimeOptions(dtype="bfloat16", runner="torch", max_sequences=AT_ONCE))


def _tell(what: str, count: int) -> None:
    sys.stderr.write(f"{what}: {count} questions\n")


if __name__ == "__main__":
    main()
