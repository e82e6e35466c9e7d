"""Peers are installed by a script, converted by their own programs and asked for tokens; all of them are fakes here."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.contestants import as_served_child, ctranslate2_child, onnxruntime_genai_child
from benchmarks.contestants.choice import WHAT, choice
from benchmarks.contestants.converted import CTRANSLATE2, ONNXRUNTIME_GENAI, ConvertedPeer, convert, model_folder
from benchmarks.lib.absent import Absent
from benchmarks.lib.peer_folder import PEERS, python_of, why_not
from benchmarks.peers import RECIPES, PeerRecipe, install
from pandagpt_core import autotune
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.autotune import WHAT as CHOSEN_FOR
from pandagpt_core.types import TokenOutput

RECIPE = PeerRecipe(("a==1", "b"), without=("c",))
VENV = 'mkdir -p "$4/bin" && ln -s "$3" "$4/bin/python"'


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def uv(tmp_path: Path, on_install: str = "true") -> Path:
    """A uv that writes its arguments down, makes a folder for `venv`, and then does as it is given."""
    log = f'echo "$*" >> {tmp_path}/log'
    return program(
        tmp_path / "uv", f'{log}\ncase "$1 $2" in "venv --python") {VENV};; "pip install") {on_install};; esac'
    )


def test_each_peer_has_a_recipe() -> None:
    assert set(RECIPES) == set(PEERS)


def test_a_peer_is_installed_into_its_own_folder_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "peers"
    assert install(folder, "vllm", RECIPE, uv(tmp_path))
    python = folder / "vllm" / "bin" / "python"
    assert python_of(folder, "vllm") == python
    assert (tmp_path / "log").read_text().splitlines() == [
        f"venv --python {sys.executable} {folder / 'vllm'}",
        f"pip install --python {python} a==1 b",
        f"pip uninstall --python {python} c",
    ]
    (tmp_path / "log").unlink()
    assert install(folder, "vllm", RECIPE, uv(tmp_path))
    assert not (tmp_path / "log").exists()


def test_an_installation_that_fails_leaves_its_reason_and_no_environment(tmp_path: Path) -> None:
    folder = tmp_path / "peers"
    broken = uv(tmp_path, "echo 'no wheel of a==1 in /some/where/else' >&2; exit 2")
    assert not install(folder, "ctranslate2", RECIPE, broken)
    assert not (folder / "ctranslate2").exists()
    assert why_not(folder, "ctranslate2") == "it did not install: no wheel of a==1 in else"
    assert install(folder, "ctranslate2", RECIPE, uv(tmp_path))
    assert "no environment" in why_not(folder, "ctranslate2")  # the reason is gone


def test_without_an_installer_the_reason_names_it(tmp_path: Path) -> None:
    assert not install(tmp_path, "openvino", RECIPE, tmp_path / "nowhere" / "uv")
    assert why_not(tmp_path, "openvino") == "it did not install: uv: No such file or directory"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The weights as an earlier run has written them."""
    folder = tmp_path / "hf"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("peer", "precision", "named"),
    [
        (
            CTRANSLATE2,
            "fp32",
            "ctranslate2.converters.transformers --model {hf} --output_dir {to} --quantization float32",
        ),
        (
            ONNXRUNTIME_GENAI,
            "int4",
            "onnxruntime_genai.models.builder --input {hf} --output {to} --precision int4 --execution_provider cpu "
            "--extra_options prune_lm_head=true",
        ),
    ],
)
def test_weights_are_converted_once_by_the_peers_converter_without_a_network(
    peer: ConvertedPeer, precision: str, named: str, tmp_path: Path, source: Path
) -> None:
    log = tmp_path / "log"
    python = str(program(tmp_path / "python", f'echo "$HF_HUB_OFFLINE $*" >> {log}; mkdir "$6"'))
    path = model_folder(peer, precision, python, tmp_path)
    assert path == tmp_path / f"{peer.name}-{precision}"
    assert path.is_dir()
    assert log.read_text() == f"1 -m {named.format(hf=source, to=f'{path}.part')}\n"
    assert model_folder(peer, precision, python, tmp_path) == path
    assert len(log.read_text().splitlines()) == 1


def test_a_converter_that_fails_makes_its_contestant_absent_and_leaves_nothing(tmp_path: Path, source: Path) -> None:
    python = str(program(tmp_path / "python", 'mkdir "$6"; echo "no module /a/b/torch" >&2; exit 1'))
    for _ in range(2):
        with pytest.raises(Absent, match="its converter failed: no module torch"):
            model_folder(CTRANSLATE2, "int8", python, tmp_path)
        assert not (tmp_path / "ctranslate2-int8").exists()


def test_a_converter_that_does_not_end_makes_its_contestant_absent(tmp_path: Path) -> None:
    with pytest.raises(Absent, match=r"did not end within 0\.1 s"):
        convert(str(program(tmp_path / "python", "exec sleep 60")), [], limit_s=0.1)


class FakeGenerator:
    """CTranslate2's: tokens by their text in, one call for each token that comes."""

    compute_type = "int8_float32"

    def __init__(self, model: str, **settings: Any) -> None:
        self.made = {"model": model, **settings}
        self.asked: dict[str, Any] = {}

    def generate_batch(self, start: Sequence[Sequence[str]], callback: Callable[[Any], bool], **asked: Any) -> None:
        self.asked = {"start": start, **asked}
        for step in range(asked["max_length"]):
            for batch in range(len(start)):
                assert not callback(SimpleNamespace(batch_id=batch, token_id=10 * batch + step))


def test_ctranslate2_reads_tokens_by_their_text_and_counts_each_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FakeGenerator] = []
    library = ModuleType("ctranslate2")
    library.__version__ = "4"  # type: ignore[attr-defined]
    library.Generator = lambda *a, **k: made.append(FakeGenerator(*a, **k)) or made[0]  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "ctranslate2", library)
    (tmp_path / "vocabulary.json").write_text(json.dumps(["a", "b", "c"]))
    answer, facts = ctranslate2_child.load({"model": str(tmp_path), "precision": "int8", "threads": 3})
    record = answer([[0, 1], [2, 2]], 3)
    (generator,) = made
    assert facts == {"version": "4", "computes": "int8_float32"}
    assert generator.made["intra_threads"] == 3
    assert generator.made["compute_type"] == "int8"
    assert generator.asked["start"] == [["a", "b"], ["c", "c"]]
    assert generator.asked["min_length"] == generator.asked["max_length"] == 3
    assert record.ids == [[0, 1, 2], [10, 11, 12]]
    assert [len(times) for times in record.arrivals] == [3, 3]


class FakeGenai:
    """onnxruntime-genai: a config with an overlay, then a generator that is stepped until it is done."""

    __version__ = "0"

    def __init__(self) -> None:
        self.overlaid: dict[str, Any] = {}
        self.search: dict[str, Any] = {}
        self.rows = np.empty((0, 0), dtype=np.int32)
        self.left = 0

    def Config(self, model: str) -> Any:
        return SimpleNamespace(overlay=lambda text: self.overlaid.update(json.loads(text)))

    def Model(self, config: Any) -> Any:
        return config

    def GeneratorParams(self, model: Any) -> Any:
        return SimpleNamespace(set_search_options=lambda **given: self.search.update(given))

    def Generator(self, model: Any, params: Any) -> Any:
        return self

    def append_tokens(self, rows: Any) -> None:
        self.rows, self.left = rows, self.search["max_length"] - rows.shape[1]

    def is_done(self) -> bool:
        return self.left == 0

    def generate_next_token(self) -> None:
        self.left -= 1

    def get_next_tokens(self) -> Any:
        return np.arange(len(self.rows), dtype=np.int32) + 10 * self.left


def test_onnxruntime_genai_steps_all_sequences_until_each_has_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeGenai()
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", library)  # type: ignore[arg-type]
    answer, facts = onnxruntime_genai_child.load({"model": "m", "threads": 3})
    record = answer([[1, 2, 3], [4, 5, 6]], 2)
    assert facts == {"version": "0"}
    assert library.overlaid == {"model": {"decoder": {"session_options": {"intra_op_num_threads": 3}}}}
    assert library.search == {"batch_size": 2, "max_length": 5, "min_length": 5, "do_sample": False}
    assert library.rows.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert record.ids == [[10, 0], [11, 1]]


class FakeServed:
    """A worker's model that gives each sequence its prompt back, token by token, all of them in each step."""

    def __init__(self, error: str | None = None) -> None:
        self.error = error
        self.admitted: list[SequenceRequest] = []
        self.outputs = self._outputs()
        self.has_work = True

    def admit(self, request: SequenceRequest) -> None:
        self.admitted.append(request)

    def step(self) -> list[TokenOutput]:
        return next(self.outputs)

    def _outputs(self) -> Iterator[list[TokenOutput]]:
        for place in range(steps := self.admitted[0].params.max_tokens):
            self.has_work = place + 1 < steps
            prompts = {one.id: one.prompt for one in self.admitted}
            yield [TokenOutput(name, int(ids[place]), "", error=self.error) for name, ids in prompts.items() if ids]


def test_the_model_as_a_worker_holds_it_takes_ids_and_does_not_end_early() -> None:
    model: Any = FakeServed()
    record = as_served_child.generate(model, [[7, 8], [5, 6]], 2)
    assert record.ids == [[7, 8], [5, 6]]
    assert all(one.params.ignore_eos and one.params.temperature == 0 for one in model.admitted)


def test_a_sequence_that_fails_ends_the_run() -> None:
    model: Any = FakeServed(error="out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        as_served_child.generate(model, [[7, 8]], 2)


def test_the_workers_choice_is_read_from_its_folder(tmp_path: Path) -> None:
    assert choice(tmp_path) == {}
    report = autotune.AutotuneReport(WHAT, "openvino int8", "nats")
    autotune.save([replace(report, what="a tower", taken="torch bf16"), report], tmp_path / "state" / "cache", "key")
    assert choice(tmp_path) == {"precision": "int8", "runner": "openvino"}
    assert WHAT == CHOSEN_FOR


def test_children_of_peers_import_nothing_that_their_environments_lack() -> None:
    """Their environments hold neither torch nor this project's packages beyond the benchmarks'."""
    modules = ("ctranslate2_child", "onnxruntime_genai_child", "openvino_child")
    code = ";".join(f"import benchmarks.contestants.{name}" for name in modules)
    check = f"import sys; {code}; print(sorted({{m.partition('.')[0] for m in sys.modules}} & set(sys.argv[1:])))"
    command = [sys.executable, "-c", check, "torch", "numpy", "pandagpt_core", "service", "transformers"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
