"""Threat: code run on weight load (PyTorch CVE-2025-32434; transformers CVE-2026-4372).

Measures: only the converter reads pickled weights, with `weights_only=True`; serving reads safetensors whose SHA-256 is
recorded and checked; no `trust_remote_code`. The source tree is walked, so that a new line of that kind fails here.
"""

import ast
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pandagpt_core.checkpoints.pickled import read_pickled
from pandagpt_core.errors import CheckpointError
from tests.security.evil import Evil

PICKLED = "pandagpt_core/checkpoints/pickled.py"
TRAINING = "pandagpt_core/training/"  # reads what it wrote itself; nothing of it runs in a service
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "jsonpickle"}


Sources = dict[str, ast.Module]


@pytest.fixture(scope="module")
def sources(root: Path) -> Sources:
    """Every module of the project, parsed."""
    files = [file for room in ("service", "pandagpt_core") for file in sorted((root / room).rglob("*.py"))]
    return {str(file.relative_to(root)): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str, str]:
    return {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}


def test_nothing_but_the_converters_reader_knows_pickle(sources: Sources) -> None:
    guilty = {file: imported(tree) & FORBIDDEN_MODULES for file, tree in sources.items()}
    assert {file for file, names in guilty.items() if names} == {PICKLED}
    tree = sources[PICKLED]
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {name for name in used if name.startswith("pickle.")} == {"pickle.UnpicklingError"}, "for its exception"


def test_only_the_converter_and_training_reach_that_reader(sources: Sources) -> None:
    readers = {
        file for file, tree in sources.items() for name, _ in calls(tree) if name.split(".")[-1] == "read_pickled"
    }
    assert all(file.startswith(("pandagpt_core/convert/", "pandagpt_core/training/")) for file in readers), readers


def test_every_torch_load_says_weights_only(sources: Sources) -> None:
    for file, tree in sources.items():
        for name, call in calls(tree):
            if name == "torch.load":
                assert file == PICKLED or file.startswith(TRAINING)
                assert keywords(call).get("weights_only") == "True"


def test_no_call_trusts_remote_code_or_allows_pickles(sources: Sources) -> None:
    for file, tree in sources.items():
        for name, call in calls(tree):
            given = keywords(call)
            assert given.get("trust_remote_code", "False") == "False", f"{file}: {name}"
            assert given.get("allow_pickle", "False") == "False", f"{file}: {name}"
            assert given.get("weights_only", "True") == "True", f"{file}: {name}"
            assert given.get("shell", "False") == "False", f"{file}: {name}"


def test_nothing_evaluates_text_or_unpacks_yaml_into_objects(sources: Sources) -> None:
    refused = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
    refused |= {"pd.read_pickle", "torch.hub.load", "torch.jit.load", "shutil.unpack_archive"}
    for file, tree in sources.items():
        of_training = file.startswith(TRAINING)
        assert not {name for name, _ in calls(tree)} & (refused | (set() if of_training else {"np.load"})), file


def test_an_evil_weight_file_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    files = {"zip.pth": tmp_path / "zip.pth", "old.pth": tmp_path / "old.pth", "bare.pt": tmp_path / "bare.pt"}
    torch.save({"weight": Evil(mark)}, files["zip.pth"])
    torch.save({"weight": Evil(mark)}, files["old.pth"], _use_new_zipfile_serialization=False)
    files["bare.pt"].write_bytes(pickle.dumps({"weight": Evil(mark)}))
    for file in files.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about the protocol of a pickle that it then refuses
            with pytest.raises(CheckpointError):
                read_pickled(file)
    assert not mark.exists()
