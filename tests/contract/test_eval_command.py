"""`pandagpt eval` against the running service: the same report as of the same model in process."""

import json
from pathlib import Path

import httpx
import pytest

from pandagpt_core.training.evaluation import examine, markdown, read_manifest, write_manifest
from pandagpt_core.training.evaluation.benchmarks import BENCHMARKS, Files, run_benchmark
from pandagpt_core.training.evaluation.benchmarks.base import benchmark_table
from pandagpt_core.training.evaluation.local import LocalModel
from pandagpt_core.training.evaluation.manifest import ConceptEntry
from pandagpt_core.training.evaluation.report import METRIC
from pandagpt_core.types import Modality
from service import cli
from service.commands.client.talk import TalkError
from service.commands.models.examinee import HttpModel
from tests.contract import made
from tests.contract.conftest import SeeingRuntime

# The fake model names each medium by its modality, so that is what there is to know.
CONCEPTS = [ConceptEntry("image", "seen"), ConceptEntry("depth", "seen"), ConceptEntry("audio")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = (Modality.IMAGE, made.PNG, ".png", {})
    sound = (Modality.AUDIO, made.sound("wav"), ".wav", {})
    room = (Modality.DEPTH, made.grey("png"), ".png", {"unit": "relative"})
    write_manifest(
        tmp_path,
        "fakes",
        CONCEPTS,
        [
            ("photos", "image", [picture]),
            ("photos", "depth", [picture]),
            ("sounds", "audio", [sound]),
            ("rooms", "depth", [room]),
            ("pairs", "audio", [picture, sound]),
        ],
        ["What is a noun?"],
        max_tokens=3,
    )
    return tmp_path


def test_over_http_the_report_is_that_of_the_model_in_process(
    folder: Path, url: str, runtime: SeeingRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--manifest", str(folder / "manifest.json"), "--url", url, "--out", str(folder / "report")]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    here = examine(LocalModel(runtime), read_manifest(folder / "manifest.json"))
    assert printed == f"{markdown(here)}\n{METRIC}.\n"
    assert json.loads((folder / "report" / "report.json").read_text()) == json.loads(json.dumps(here.to_dict()))
    named = {row["set"]: row["exact"]["hits"] for row in here.to_dict()["rows"] if row["measure"] == "answer"}
    assert named == {"photos": 1, "sounds": 1, "rooms": 1}
    assert here.pairs[0].alone[1].hits == 1
    assert "no base model" in here.left_out[-1]


def test_a_service_that_is_not_there_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "--manifest", str(folder / "manifest.json"), "--url", "http://127.0.0.1:9"]) == 1
    assert "nothing answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_model_that_is_not_served_is_told_with_those_that_are(
    folder: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--manifest", str(folder / "manifest.json"), "--url", url, "--served", "gpt"]
    assert cli.main(words) == 1
    assert "no model gpt is served there; there are ['fake']" in capsys.readouterr().err


def test_a_service_without_a_worker_yet_is_told_as_one() -> None:
    waiting = httpx.MockTransport(lambda _request: httpx.Response(200, json={"object": "list", "data": []}))
    client = httpx.Client(base_url="http://here:8000", transport=waiting)
    for served in (None, "panda-mini"):
        with pytest.raises(TalkError, match="no model is ready at http://here:8000 yet; its worker may still be load"):
            HttpModel(client, served)


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "--manifest", str(tmp_path / "none.json"), "--model", "x"]) == 2
    assert "none.json: No such file" in capsys.readouterr().err


def test_a_published_benchmark_over_http_is_that_in_process(
    tmp_path: Path, url: str, runtime: SeeingRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "7.jpg").write_bytes(made.PNG)
    entries = {str(n): {"imageId": "7", "question": f"What is {n}?", "answer": "image"} for n in range(3)}
    (tmp_path / "gqa.json").write_text(json.dumps(entries))
    files = Files(tmp_path / "gqa.json", tmp_path)
    words = ["eval", "--task", "gqa", "--url", url, "--annotations", str(files.annotations), "--images", str(tmp_path)]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    here = run_benchmark(BENCHMARKS["gqa"], LocalModel(runtime), files)
    assert capsys.readouterr().out == benchmark_table(here)
    lines = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    # The first word names the picture; the others follow from a seed, which a gateway draws.
    seen = [json.loads(line)["answer"].split()[0] for line in lines]
    assert seen == [answer.split()[0] for _, answer in here.answers]
