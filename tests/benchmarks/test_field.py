"""The contestants: absent peers are listed; the start of each server, and its requests."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import engine, http
from benchmarks.__main__ import BRIEF, EACH
from benchmarks.contestants import field
from benchmarks.contestants.base import PipeContestant
from benchmarks.contestants.entry import FieldEntry
from benchmarks.contestants.field import AS_SERVED, ENGINES, SERVERS, assemble
from benchmarks.contestants.servers import ServerContestant, chat_body, ids_body
from benchmarks.lib.absent import Absent
from benchmarks.lib.machine import cores
from benchmarks.lib.options import BenchmarkOptions, options, parser
from benchmarks.lib.prompts import prompts
from benchmarks.lib.weights import GGUF_KINDS
from tests.llm import openvino_here

PEERS = {
    "transformers-generate",
    "transformers-continuous",
    "openvino",
    "ctranslate2",
    "onnxruntime-genai",
    "vllm",
    "llama-server",
}
LLAMA = ["q4_1", "q8_0", "bf16", "f32"]


@pytest.fixture(autouse=True)
def _no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_OPENVINO_PYTHON", "BENCH_VLLM_PYTHON", "BENCH_LLAMA_SERVER", "BENCH_PEERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")


def parsed(*arguments: str) -> BenchmarkOptions:
    return options(parser("").parse_args(list(arguments)))


def environment_of(one: ServerContestant) -> Mapping[str, str]:
    return one.server.spec(1).env


def chosen(entries: Any, *names: str) -> list[FieldEntry]:
    return [entry for entry in entries if entry.name.startswith(names)]


def test_every_peer_of_the_plan_has_an_entry() -> None:
    assert {entry.name.split(":")[0] for entry in ENGINES} == PEERS | {"ours", "ours-openvino", "ours-as-served"}
    servers = {"ours", "ours-openvino", "ours-as-served", "vllm", "llama-server", "transformers-serve"}
    assert {entry.name.split(":")[0] for entry in SERVERS} == servers
    ours = {f"{who}:{precision}" for who in ("ours", "ours-openvino") for precision in ("fp32", "bf16", "int8")}
    assert {entry.name for entry in ENGINES if entry.name.startswith("ours")} == ours | {AS_SERVED}
    converted = {entry.name for entry in chosen(ENGINES, "ctranslate2", "onnxruntime-genai")}
    int8 = {"ctranslate2:int8", "onnxruntime-genai:int8"}
    assert converted == int8 | {"ctranslate2:fp32", "onnxruntime-genai:fp32", "onnxruntime-genai:int4"}


def test_peers_that_are_not_installed_are_absent_and_the_option_is_named() -> None:
    peers = chosen(ENGINES, "openvino", "vllm", "llama-server", "ctranslate2", "onnxruntime-genai")
    present, absent = assemble(peers, parsed())
    assert not present
    assert set(absent) == {entry.name for entry in peers}
    assert "--openvino-python" in absent["openvino:f16"]
    assert "--vllm-python" in absent["vllm:bf16"]
    assert "--llama-server" in absent["llama-server:q8_0"]
    assert "--peers" in absent["ctranslate2:int8"]
    assert "--peers" in absent["onnxruntime-genai:int4"]


def test_a_peer_that_did_not_install_is_absent_with_the_reason_of_its_installer(tmp_path: Path) -> None:
    (tmp_path / "ctranslate2.failed").write_text("no wheel for this system\n")
    (tmp_path / "openvino.failed").write_text("no wheel for this Python\n")
    _, absent = assemble(chosen(ENGINES, "ctranslate2", "onnx", "openvino"), parsed("--peers", str(tmp_path)))
    assert absent["ctranslate2:fp32"] == "it did not install: no wheel for this system"
    assert "no wheel for this Python" in absent["openvino:q8_0"]
    assert absent["onnxruntime-genai:int8"] == "the folder of --peers has no environment onnxruntime-genai"


def test_openvino_that_is_not_installed_leaves_out_ours_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino_here.absent(monkeypatch)
    for entries in (ENGINES, SERVERS):
        present, absent = assemble(chosen(entries, "ours-openvino:int8"), parsed())
        assert not present
        assert "'.[openvino]'" in absent["ours-openvino:int8"]


def test_a_package_that_is_missing_makes_its_contestant_absent() -> None:
    def make(options: BenchmarkOptions) -> Any:
        raise Absent("the package is not installed")

    assert assemble([FieldEntry("x", make)], parsed()) == ([], {"x": "the package is not installed"})


def test_what_is_left_out_by_choice_is_listed_too() -> None:
    _, absent = assemble(chosen(ENGINES, "vllm", "openvino"), parsed("--only", "nobody"))
    assert set(absent.values()) == {"left out by --only"}
    _, absent = assemble(chosen(ENGINES, "vllm"), parsed("--quick", "--vllm-python", sys.executable))
    assert absent == {"vllm:bf16": "left out by --quick"}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder of weights that an earlier run has written, all of them empty."""
    made = tmp_path / "cache"
    made.mkdir()
    for kind in GGUF_KINDS:
        (made / f"smollm2-{kind}.gguf").touch()
    return made


def test_a_named_server_is_taken_where_it_is(cache: Path) -> None:
    words = ("--llama-server", sys.executable, "--cache", str(cache))
    present, absent = assemble(chosen(ENGINES, "llama"), parsed(*words))
    assert [one.name for one in present] == [f"llama-server:{kind}" for kind in LLAMA]
    assert not absent


def test_peers_are_taken_from_one_folder_and_named_for_what_they_are(tmp_path: Path, cache: Path) -> None:
    for name in ("openvino", "xllamacpp"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").symlink_to(sys.executable)
    peers = chosen(ENGINES, "openvino", "vllm", "llama-server")
    present, absent = assemble(peers, parsed("--peers", str(tmp_path), "--cache", str(cache)))
    openvino = [f"openvino:{kind}" for kind in ("q4_1", "q8_0", "f16", "f32")]
    assert [one.name for one in present] == [*openvino, *(f"llama.cpp-avx2:{kind}" for kind in LLAMA)]
    assert set(absent) == {"vllm:bf16"}


def test_the_brief_comparison_names_benchmarks_and_options_that_exist() -> None:
    assert set(BRIEF) <= set(EACH)
    known = parser("")
    known.add_argument("--batches")  # of `imagebind` alone
    for given in BRIEF.values():
        only = options(known.parse_args(list(given))).only
        everybody = [entry.name for entry in (*ENGINES, *SERVERS)]
        assert all(any(name.startswith(start) for name in everybody) for start in only)


def test_our_service_is_started_with_settings_that_exist() -> None:
    from service.settings import variables

    worker = {"PANDAGPT_WORKER_DTYPE": "int8", "PANDAGPT_WORKER_RUNNER": "openvino"}
    server = field.service_server("ours:int8", Path("folder"), {**worker, **field.sizes(parsed("--threads", "3"))})
    spec = server.spec(1234)
    named = {name for name in (*spec.env, spec.scratch) if name and name.startswith("PANDAGPT_")}
    assert named <= set(variables())
    assert spec.env["PANDAGPT_WORKER_DTYPE"] == "int8"
    assert spec.env["PANDAGPT_WORKER_THREADS"] == "3"
    assert "1234" in spec.command


def test_as_served_names_nothing_but_fewer_threads_where_they_are_asked_for(tmp_path: Path) -> None:
    named = {name for name in environment_of(field.as_served(tmp_path, parsed())) if "WORKER" in name or "OMP" in name}
    assert not named
    fewer = environment_of(field.as_served(tmp_path, parsed("--threads", str(cores() + 1))))
    assert fewer["PANDAGPT_WORKER_THREADS"] == str(cores() + 1)


def test_the_engine_as_served_leaves_its_threads_to_the_worker(cache: Path) -> None:
    for name in ("bench", "bench-plain"):  # model folders that an earlier run has written
        (cache / name).mkdir()
        (cache / name / "config.json").touch()
    (one,), _ = assemble(chosen(ENGINES, AS_SERVED), parsed("--cache", str(cache)))
    assert isinstance(one, PipeContestant)
    assert "OMP_NUM_THREADS" not in one.spec.env
    assert json.loads(one.spec.command[-1])["threads"] == 0
    (named,), _ = assemble(chosen(ENGINES, "ours:int8"), parsed("--threads", "1", "--cache", str(cache)))
    assert isinstance(named, PipeContestant)
    assert named.spec.env["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    "make", [field.vllm_server, lambda binary, *args: field.llama_server("llama", [binary], *args)]
)
def test_token_ids_are_sent_as_they_are_and_ends_are_ignored(make: Any) -> None:
    server = make("program", Path("model"), 2)
    body = ids_body(server, [1, 2, 3], 9)
    assert body["prompt"] == [1, 2, 3]
    assert body["ignore_eos"] is True
    assert body[server.ids_key] == 9
    assert body["temperature"] == 0


def test_all_servers_are_asked_the_same_conversation() -> None:
    servers = [
        field.vllm_server("python", Path("m"), 1),
        field.llama_server("llama", ["binary"], Path("m"), 1),
        field.transformers_server("transformers", Path("m"), 1),
        field.service_server("ours", Path("m"), {}),
    ]
    bodies = [chat_body(server, "Hello", 16) for server in servers]
    assert all(body["messages"] == bodies[0]["messages"] for body in bodies)
    assert all((body["max_tokens"], body["temperature"], body["stream"]) == (16, 0, True) for body in bodies)


def test_prompts_have_their_length_and_no_two_of_any_turn_or_case_begin_alike() -> None:
    passage = [number % 90 for number in range(166)]  # words come again
    made = [ids for width in (1, 4, 32) for turn in range(4) for ids in prompts(passage, 256, width, turn)]
    assert {len(ids) for ids in made} == {256}
    assert len({tuple(ids[:3]) for ids in made}) == len(made)
    assert prompts(passage, 32, 4, 1)[0][:4] != prompts(passage, 64, 4, 1)[0][:4]


def test_cases_come_from_the_options_or_the_plan() -> None:
    assert [(case.prompt, case.width, case.new) for case in engine.cases(parsed())] == [
        (prompt, width, 128) for prompt in (32, 256) for width in (1, 4, 16, 32)
    ]
    assert [case.width for case in http.cases(parsed())] == [1, 4, 16]
    small = engine.cases(parsed("--widths", "2", "--prompts", "5", "--new", "3"))
    assert [(case.prompt, case.width, case.new) for case in small] == [(5, 2, 3)]


def test_the_readme_names_every_benchmark_and_option_of_a_peer(root: Path) -> None:
    text = (root / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in EACH)
    assert all(
        f"`{option}`" in text
        for option in ("--openvino-python", "--vllm-python", "--llama-server", "--peers", "--brief")
    )
    assert all((root / "benchmarks" / f"{name.replace('.', '/')}.py").is_file() for name in EACH)
