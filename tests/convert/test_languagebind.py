"""LanguageBind's towers: the keys of its published sizes, what they compute, and a folder with them that is served."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPAttention

from pandagpt_core.checkpoints import PandaGPTFolder, module_shapes, read_folder_of
from pandagpt_core.convert.languagebind import LanguageBindFolders, plan_languagebind, read_sizes
from pandagpt_core.encoders.languagebind import LanguageBind
from pandagpt_core.errors import CheckpointError, InvalidMedia
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from service import cli
from tests.convert.tiny_languagebind import FRAMES, clip, with_time, write
from tests.convert.tiny_llms import FAMILIES, write_llm

LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
LARGE_TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}


@pytest.fixture
def folders(tmp_path: Path) -> LanguageBindFolders:
    model = clip()
    image = write(tmp_path / "LanguageBind_Image", model, model.state_dict())
    time = {"add_time_attn": True, "num_frames": FRAMES}
    return LanguageBindFolders(
        image, write(tmp_path / "LanguageBind_Video_FT", model, with_time(model.state_dict()), **time)
    )


def converted(folders: LanguageBindFolders, tmp_path: Path, *more: str) -> Path:
    write_llm(FAMILIES["qwen2.5"], tmp_path / "llm")
    words = ["convert", "--languagebind", folders.image, "--llm", tmp_path / "llm", "--out", tmp_path / "made"]
    assert cli.main([*map(str, words), *more]) == 0
    return tmp_path / "made"


def test_every_key_of_the_published_sizes_is_accounted_for(tmp_path: Path) -> None:
    config = transformers.CLIPConfig(
        text_config=LARGE_TEXT, vision_config={**LARGE, "patch_size": 14}, projection_dim=768
    )
    with torch.device("meta"):
        model = transformers.CLIPModel(config)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    sizes = read_sizes(LanguageBindFolders(tmp_path))
    ours = module_shapes(LanguageBind(sizes))
    theirs = {key: shape for key, shape in module_shapes(model).items() if key != "logit_scale"}
    assert {key.partition(".")[2]: shape for key, shape in ours.items()} == theirs
    assert sum(map(int, (torch.tensor(shape).prod() for shape in ours.values()))) == 427_616_512


@pytest.mark.parametrize("act", ["gelu", "quick_gelu"])
def test_pictures_and_texts_are_embedded_as_by_transformers(tmp_path: Path, act: str) -> None:
    model = clip(hidden_act=act)
    folder = converted(LanguageBindFolders(write(tmp_path / "image", model, model.state_dict())), tmp_path)
    encoder = load_encoder(folder, read_folder_of(folder, PandaGPTFolder), "cpu")
    assert set(encoder.recipes) == {"image", "text"}
    pictures = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    ids = torch.zeros(2, 77, dtype=torch.long)
    ids[0, :3], ids[1, :5] = torch.tensor([49406, 7, 49407]), torch.tensor([49406, 1, 2, 3, 49407])
    with torch.no_grad():
        seen, read = model.get_image_features(pixel_values=pictures), model.get_text_features(input_ids=ids)
    for modality, given, wanted in ((Modality.IMAGE, pictures, seen), (Modality.TEXT, ids, read)):
        rows = wanted if isinstance(wanted, Tensor) else wanted.pooler_output
        unit = torch.nn.functional.normalize(rows, dim=-1)
        torch.testing.assert_close(encoder.encode(modality, given), unit, atol=1e-5, rtol=1e-4)


def test_films_attend_over_time_before_space(folders: LanguageBindFolders, tmp_path: Path) -> None:
    """Against transformers' own parts, put together frame by frame."""
    folder = converted(folders, tmp_path, "--languagebind-video", str(folders.video))
    encoder = load_encoder(folder, read_folder_of(folder, PandaGPTFolder), "cpu")
    film = torch.randn(2, 3, FRAMES, 224, 224, generator=torch.Generator().manual_seed(3))
    film = film + torch.linspace(-3, 3, FRAMES)[:, None, None]  # a fade, so that the order shows
    model, state = clip(), with_time({})
    with torch.no_grad():
        wanted = torch.cat([by_hand(model, state, one) for one in film])
    torch.testing.assert_close(encoder.encode(Modality.VIDEO, film), wanted, atol=1e-5, rtol=1e-4)
    backwards = encoder.encode(Modality.VIDEO, film.flip(2))
    assert not torch.allclose(backwards, wanted, atol=1e-3)
    with pytest.raises(InvalidMedia, match="the tower reads"):
        encoder.encode(Modality.VIDEO, film[:, :, :4])


def by_hand(model: transformers.CLIPModel, state: dict[str, Tensor], film: Tensor) -> Tensor:
    """[3, T, H, W] to [1, out]."""
    vision = model.vision_model
    x = vision.pre_layrnorm(vision.embeddings(film.transpose(0, 1)))  # [T, P, D]
    for index, layer in enumerate(vision.encoder.layers):
        own = {key.split(f"layers.{index}.")[1]: one for key, one in state.items() if f"layers.{index}." in key}
        attention = CLIPAttention(model.config.vision_config)
        attention.load_state_dict({k.removeprefix("temporal_attn."): v for k, v in own.items() if "temporal_attn" in k})
        for place in range(x.shape[1]):
            line = x[:, place] + own["temporal_embedding"][0]  # [T, D]
            weight, bias = own["temporal_layer_norm1.weight"], own["temporal_layer_norm1.bias"]
            normed = torch.nn.functional.layer_norm(line, (32,), weight, bias, 1e-5)
            x = torch.cat([x[:, :place], (line + attention(normed[None])[0][0])[:, None], x[:, place + 1 :]], dim=1)
        out = layer(x, None)
        x = out[0] if isinstance(out, tuple) else out
    pooled = vision.post_layernorm(x[:, 0]).mean(dim=0, keepdim=True)
    return torch.nn.functional.normalize(model.visual_projection(pooled), dim=-1)


def test_a_folder_that_may_be_sold_names_its_licences_and_answers(
    folders: LanguageBindFolders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = converted(folders, tmp_path, "--languagebind-video", str(folders.video))
    assert "template qwen2.5; licences: encoder MIT, llm apache-2.0" in capsys.readouterr().out
    runtime = load_model(folder, RuntimeOptions(dtype="float32", runner="torch", max_sequences=1))
    assert set(runtime.info.recipes) == {"image", "video", "text"}
    film = np.zeros((1, 3, FRAMES, 224, 224), np.float32)
    asked = Conversation((Turn("user", "What is it?"),), (MediaUse(Modality.VIDEO, "a", 0),))
    rows = runtime.encode(Modality.VIDEO, [film])
    runtime.admit(SequenceRequest("a", asked, rows, SamplingParams(max_tokens=4, temperature=0.0, ignore_eos=True)))
    outputs = []
    while runtime.has_work:
        outputs += runtime.step()
    assert len(outputs) == 4


def test_what_is_no_languagebind_is_refused_by_name(tmp_path: Path) -> None:
    model = clip()
    lora = LanguageBindFolders(write(tmp_path / "lora", model, model.state_dict(), lora_r=16))
    with pytest.raises(CheckpointError, match="LoRA of rank 16, and its config"):
        plan_languagebind(lora, read_sizes(lora))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no vision_config"):
        read_sizes(LanguageBindFolders(tmp_path / "other"))


def test_a_key_too_many_stops_the_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = clip()
    folder = write(tmp_path / "image", model, {**model.state_dict(), "head.weight": torch.ones(1)})
    write_llm(FAMILIES["qwen2.5"], tmp_path / "llm")
    words = ["convert", "--languagebind", folder, "--llm", tmp_path / "llm", "--out", tmp_path / "made"]
    assert cli.main([*map(str, words)]) == 2
    assert "head.weight" in capsys.readouterr().err
