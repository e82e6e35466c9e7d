"""config.json: read strictly, written back, refused with the field's name."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pandagpt_core.checkpoints import (
    ModelFolder,
    PandaGPTFolder,
    as_system,
    parse_model_folder,
    read_model_folder,
    write_model_folder,
)
from pandagpt_core.errors import CheckpointError
from pandagpt_core.types import Modality

GOOD: dict[str, Any] = {
    "format": 1,
    "id": "panda",
    "system": "pandagpt",
    "template": "chatml",
    "encoder": {"kind": "mini", "variant": "pandagpt", "sizes": {"width": 4}},
    "projection": {"in": 4, "out": 8},
    "lora": {"r": 4, "alpha": 8, "targets": ["q_proj"], "merged": False},
    "llm": {"folder": "llm"},
    "recipes": {"image": "lite0-image-v1"},
    "files": {"encoder.safetensors": "a" * 64},
    "sampling_defaults": {"top_p": 0.9},
    "max_model_len": 2048,
    "created": 1,
}
PACKAGE = {"package": "llm", "file": "llm.gguf", "sha256": "b" * 64}


def parsed(**changes: Any) -> PandaGPTFolder:
    return parse_model_folder(json.dumps(GOOD | changes).encode())


def test_a_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = parsed()
    write_model_folder(tmp_path, folder)
    assert read_model_folder(tmp_path) == folder
    assert json.loads((tmp_path / "config.json").read_text())["projection"] == {"in": 4, "out": 8}
    assert folder.recipes == {Modality.IMAGE: "lite0-image-v1"}
    assert folder.lora is not None
    assert folder.lora.scale == 2.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tempalte": "chatml"}, "tempalte"),
        ({"format": 2}, "format"),
        ({"system": "minigpt"}, "system"),
        ({"template": "alpaca"}, "template"),
        ({"encoder": {"kind": "clip"}}, "kind"),
        ({"projection": {"in_dim": 4, "out": 8}}, "in_dim"),
        ({"projection": {"in": 0, "out": 8}}, "in"),
        ({"lora": {"r": 4, "alpha": 4, "targets": ["q_proj"], "dropout": 0.1}}, "dropout"),
        ({"recipes": {"smell": "x"}}, "smell"),
        ({"files": {"encoder.safetensors": "A" * 64}}, "files"),
        ({"max_model_len": "2048"}, "max_model_len"),
        ({"id": ""}, "id"),
        ({"llm": {}}, "neither a folder nor a package"),
        ({"llm": {"package": "llm", "file": "llm.gguf"}}, "neither a folder nor a package"),
        ({"llm": PACKAGE | {"folder": "llm"}}, "a folder and a package"),
    ],
)
def test_a_mistake_is_refused_and_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        parsed(**change)


def test_a_config_without_a_system_is_pandagpts() -> None:
    old = {name: value for name, value in GOOD.items() if name != "system"}
    assert parse_model_folder(json.dumps(old).encode()) == parsed()
    assert parsed().system == "pandagpt"


def test_a_folder_of_another_system_is_refused_by_name() -> None:
    class OtherFolder(ModelFolder, frozen=True, kw_only=True, tag="other"):
        pass

    with pytest.raises(CheckpointError, match=r"system pandagpt; this is for other"):
        as_system(parsed(), OtherFolder)
    assert as_system(parsed(), PandaGPTFolder) == parsed()


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="max_model_len"):
        write_model_folder(tmp_path, msgspec.structs.replace(parsed(), max_model_len=0))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_json_or_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json"):
        parse_model_folder(b"\xff{")
    with pytest.raises(CheckpointError, match="not a model folder"):
        read_model_folder(tmp_path)


def test_the_encoder_digest_changes_with_whatever_changes_an_embedding() -> None:
    same = parsed(id="other", llm=PACKAGE, template="vicuna-v0")
    assert same.encoder_digest == parsed().encoder_digest
    others = [
        parsed(files={"encoder.safetensors": "b" * 64}),
        parsed(recipes={"image": "lite0-image-v2"}),
        parsed(encoder={"kind": "mini", "variant": "imagebind", "sizes": {"width": 4}}),
        parsed(encoder={"kind": "mini", "variant": "pandagpt", "sizes": {"width": 5}}),
    ]
    assert len({folder.encoder_digest for folder in [same, *others]}) == 5
