"""The figures of the small default: measured as any model's are, of the committed weights, and told by the texts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pandagpt_core.checkpoints import NGRAMS, read_model_folder, write_model_folder
from pandagpt_core.training.evaluation import EvaluationReport
from pandagpt_core.training.evaluation.measures import Rate, mean_by
from pandagpt_core.training.evaluation.report import Row
from recipes.panda_mini import figures
from recipes.panda_mini.data.packages import FetchError
from recipes.panda_mini.model_card import BARS, NOTES, filled

ENDS = ("md", "png")


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "models" / "panda-mini"


@pytest.fixture(scope="module")
def known(folder: Path) -> dict[str, Any]:
    return figures.read(folder)


def test_the_figures_are_of_the_committed_weights(folder: Path, known: dict[str, Any]) -> None:
    files = {name: digest for name, digest in read_model_folder(folder).files.items() if name != NGRAMS}
    assert known["weights"] == files  # drafts change no answer


def test_every_set_of_every_modality_is_told_with_chance_and_retrieval(known: dict[str, Any]) -> None:
    measured = {(row["measure"], row["set"]) for row in known["validation"]["rows"]}
    assert {(measure, name) for measure in ("answer", "retrieval") for name in NOTES} <= measured
    assert {row["modality"] for row in known["validation"]["rows"]} == {
        "image", "video", "audio", "depth", "thermal", "imu", "text",
    }  # fmt: skip
    assert all(row["exact"]["chance"] > 0 for row in known["validation"]["rows"])
    [pair] = known["validation"]["pairs"]
    assert [len(part["gain"]["interval_95"]) for part in pair["parts"]] == [2, 2]
    assert {of for _, of, _, _ in BARS} <= NOTES.keys()


@pytest.mark.parametrize("text", ["models/panda-mini/README.md", "README.md"])
def test_the_texts_tell_the_figures(text: str, root: Path, known: dict[str, Any]) -> None:
    said = (root / text).read_text(encoding="utf-8")
    assert "<!-- figures: " in said
    assert filled(said, known) == said


def test_the_report_tells_the_figures_that_there_are(folder: Path, known: dict[str, Any]) -> None:
    sets = [name for name in figures.SETS if name in known]  # the reserved one, when the model is finished
    assert {path.name for path in (folder / "report").iterdir()} == {f"{one}.{end}" for one in sets for end in ENDS}
    for name in sets:
        lines = (folder / "report" / f"{name}.md").read_text(encoding="utf-8").splitlines()
        for row in known[name]["rows"]:
            share = f"{100 * row['exact']['share']:.0f} %"
            start = f"| {row['measure']} | {row['set']} | {row['modality']} | {row['exact']['n']} | {share} |"
            assert [line for line in lines if line.startswith(start)], start


def test_a_bar_that_is_not_reached_is_said_to_be_so(known: dict[str, Any]) -> None:
    poor = json.loads(json.dumps(known))
    for row in poor["validation"]["rows"]:
        if row["set"] == "motion":
            row["exact"]["share"] = 0.89
    marked = "<!-- figures: bars -->\n<!-- end of figures -->"
    [line] = [line for line in filled(marked, poor).splitlines() if line.startswith("| motion ")]
    assert line.endswith("| NOT reached |")


def report(hits: int) -> EvaluationReport:
    said = [True] * hits + [False] * (4 - hits)
    row = Row("answer", "PNG", "image", Rate(4, hits, 0.1), Rate(4, hits, 0.2), mean_by(["dog"] * 4, said))
    return EvaluationReport("mini", "a set", (row,))


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> Path:
    """A folder without weights."""
    write_model_folder(tmp_path, read_model_folder(folder))
    return tmp_path


def examined(_folder: Path, _cache: Path, name: str, _thin: int) -> EvaluationReport:
    return report({"reserved": 2}.get(name, 3))


def measured(model: Path, sets: Sequence[str]) -> dict[str, Any]:
    return figures.measure(model, model, sets, examined=examined)


def test_reserved_figures_are_put_beside_those_that_are_there(model: Path) -> None:
    measured(model, ["validation"])
    measured(model, ["reserved"])
    told = figures.read(model)
    assert [told[name]["rows"][0]["exact"]["hits"] for name in ("validation", "reserved")] == [3, 2]
    assert sorted(path.name for path in (model / "report").iterdir()) == [
        "reserved.md", "reserved.png", "validation.md", "validation.png",
    ]  # fmt: skip


def test_what_other_weights_were_found_to_know_is_forgotten(model: Path) -> None:
    measured(model, ["reserved"])
    said = read_model_folder(model)
    write_model_folder(model, replace(said, files={**said.files, "adapter.safetensors": "0" * 64}))
    assert "reserved" not in measured(model, ["validation"])
    assert sorted(path.name for path in (model / "report").iterdir()) == ["validation.md", "validation.png"]


def test_the_card_of_a_measured_folder_is_filled(model: Path) -> None:
    (model / "README.md").write_text("A\n<!-- figures: reserved -->\nold\n<!-- end of figures -->\nB\n")
    measured(model, ["validation"])
    assert "Not measured" in (model / "README.md").read_text()
    assert "old" not in (model / "README.md").read_text()


def test_the_command_measures_what_it_is_told_to_and_fills_other_texts_too(model: Path) -> None:
    text = model / "other.md"
    text.write_text("<!-- figures: reserved -->\n<!-- end of figures -->\n")
    fetched: list[Path] = []
    figures.main([str(model), "validation", "--cache", str(model), "--fill", str(text)], fetched.append, examined)
    assert fetched == [model / "packages"], "a clean clone has none of the packages"
    assert "Not measured" in text.read_text()
    assert figures.read(model)["validation"]["rows"][0]["exact"]["hits"] == 3
    with pytest.raises(SystemExit):
        figures.main([str(model), "photos"], fetched.append)


def test_a_package_that_cannot_be_had_ends_the_command_by_its_name(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(cache: Path) -> None:
        raise FetchError("npm not installed; needed to fetch some")

    with pytest.raises(SystemExit):
        figures.main([str(model), "validation", "--cache", str(model)], fetch)
    assert "npm not installed" in capsys.readouterr().err
