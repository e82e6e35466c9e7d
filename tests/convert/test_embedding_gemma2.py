"""EmbeddingGemma 2's folder: its encoder gives the values of transformers' own processor and model."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import Tensor, nn
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import (
    Gemma4ImageProcessorPil,
    get_aspect_ratio_preserving_size,
)

from pandagpt_core.checkpoints import PandaGPTFolder, module_shapes, read_folder_of
from pandagpt_core.convert.embedding_gemma2 import EmbeddingGemma2Folder, plan_embedding_gemma2, read_sizes
from pandagpt_core.encoders.embedding_gemma2 import PARTS, TokensAround
from pandagpt_core.errors import CheckpointError, KeyMismatch, UnsupportedModality
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.media.pictures.patches import scaled
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from service import cli
from tests.convert.tiny_gemma import AUDIO, gemma, tiny, write
from tests.convert.tiny_llms import FAMILIES, write_llm


def converted(folder: EmbeddingGemma2Folder, tmp_path: Path) -> Path:
    write_llm(FAMILIES["qwen2.5"], tmp_path / "llm")
    words = ["convert", "--embedding-gemma2", folder.path, "--llm", tmp_path / "llm", "--out", tmp_path / "made"]
    assert cli.main([*map(str, words)]) == 0
    return tmp_path / "made"


def picture(width: int, height: int) -> tuple[bytes, Image.Image]:
    drawn = Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue(), drawn


def sound(samples: int) -> tuple[bytes, np.ndarray]:
    at = np.arange(samples)
    wave = (0.3 * np.sin(at * (0.02 + at * 1e-7))).astype(np.float32)
    out = io.BytesIO()
    soundfile.write(out, wave, 16_000, format="WAV", subtype="FLOAT")
    return out.getvalue(), wave


@pytest.mark.parametrize("size", [(1, 1), (640, 480), (481, 4001), (3, 900), (2000, 5), (10, 10_000), (48, 13_440)])
def test_a_picture_has_the_sides_that_transformers_gives_it(size: tuple[int, int]) -> None:
    width, height = size
    wanted = get_aspect_ratio_preserving_size(height, width, patch_size=16, max_patches=2520, pooling_kernel_size=3)
    assert scaled(width, height) == (wanted[1], wanted[0])


def pooled(hidden: Tensor) -> Tensor:
    return nn.functional.normalize(hidden.mean(dim=1), dim=-1)


@pytest.mark.parametrize("size", [(300, 200), (90, 2000), (900, 5)])
def test_pictures_are_prepared_and_embedded_as_by_transformers(tmp_path: Path, size: tuple[int, int]) -> None:
    model = tiny()
    made = converted(write(tmp_path / "gemma", model), tmp_path)
    encoder = load_encoder(made, read_folder_of(made, PandaGPTFolder), "cpu")
    data, drawn = picture(*size)
    prepared = Gemma4ImageProcessorPil()(drawn, return_tensors="pt")
    tokens = int(prepared.pop("num_soft_tokens_per_image")[0])
    ids = torch.tensor([[2, 3, *[4] * tokens, 5, 1]])
    with torch.no_grad():
        wanted = pooled(model(input_ids=ids, **prepared).last_hidden_state)
    array = load(encoder.recipes[Modality.IMAGE], data, {}, Limits())
    assert np.array_equal(array[0, :, :768], prepared["pixel_values"][0].numpy())
    torch.testing.assert_close(encoder.encode(Modality.IMAGE, torch.tensor(array)), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [401, 20_011, 500_000])
def test_sounds_are_prepared_and_embedded_as_by_transformers(tmp_path: Path, samples: int) -> None:
    model = tiny()
    made = converted(write(tmp_path / "gemma", model, prefix="model."), tmp_path)
    encoder = load_encoder(made, read_folder_of(made, PandaGPTFolder), "cpu")
    data, wave = sound(samples)
    prepared = Gemma4AudioFeatureExtractor()([wave], return_tensors="pt")
    tokens = int(prepared["input_features_mask"][0][::2][::2].sum())
    ids = torch.tensor([[2, 6, *[7] * tokens, 8, 1]])
    with torch.no_grad():
        wanted = pooled(model(input_ids=ids, **prepared).last_hidden_state)
    array = torch.tensor(load(encoder.recipes[Modality.AUDIO], data, {}, Limits()))
    torch.testing.assert_close(encoder.encode(Modality.AUDIO, array), wanted, atol=1e-4, rtol=1e-3)


def test_a_folder_with_both_towers_names_its_licence_and_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = converted(write(tmp_path / "gemma", tiny()), tmp_path)
    assert "licences: encoder Apache-2.0, llm apache-2.0" in capsys.readouterr().out
    runtime = load_model(made, RuntimeOptions(dtype="float32", runner="torch", max_sequences=2))
    media = {Modality.IMAGE: picture(60, 40)[0], Modality.AUDIO: sound(16_000)[0]}
    assert set(runtime.info.recipes) == set(media) == set(runtime.info.tower_digests)
    for modality, data in media.items():
        rows = runtime.encode(modality, [load(runtime.info.recipes[modality], data, {}, Limits())])
        asked = Conversation((Turn("user", "What is it?"),), (MediaUse(modality, "a", 0),))
        greedy = SamplingParams(max_tokens=2, temperature=0.0, ignore_eos=True)
        runtime.admit(SequenceRequest(modality, asked, rows, greedy))
    outputs = []
    while runtime.has_work:
        outputs += runtime.step()
    assert {one.sequence_id for one in outputs} == set(media)


def test_a_folder_without_the_tower_of_sounds_takes_pictures_alone(tmp_path: Path) -> None:
    made = converted(write(tmp_path / "gemma", tiny(audio_config=None)), tmp_path)
    encoder = load_encoder(made, read_folder_of(made, PandaGPTFolder), "cpu")
    assert set(encoder.recipes) == {"image"}
    with pytest.raises(UnsupportedModality, match="no tower for audio"):
        encoder.encode(Modality.AUDIO, torch.zeros(1, 2999, 129))


def test_every_key_of_the_published_sizes_belongs_to_a_medium_s_part() -> None:
    """740 million parameters, as the model's page states, by the configuration that transformers has by default."""
    config = gemma.EmbeddingGemma2Config(vision_config={"model_type": "gemma4_vision"}, audio_config=AUDIO)
    with torch.device("meta"):
        keys = module_shapes(gemma.EmbeddingGemma2Model(config))
    beginnings = tuple({name for names in PARTS.values() for name in names})
    assert all(key.startswith(beginnings) for key in keys)


def test_the_prompt_has_the_tokens_that_the_tokenizer_puts_at_both_ends(tmp_path: Path) -> None:
    sizes = read_sizes(write(tmp_path / "gemma", tiny()))
    assert sizes.prompts == {
        Modality.IMAGE: TokensAround([2, 3], 4, [5, 1]),
        Modality.AUDIO: TokensAround([2, 6], 7, [8, 1]),
    }


@pytest.mark.parametrize(
    ("part", "field", "value", "words"),
    [
        ("image_processor", "max_soft_tokens", 560, "image is read with max_soft_tokens 280; image_processor says 560"),
        ("image_processor", "do_normalize", True, "do_normalize False; image_processor says True"),
        ("feature_extractor", "mel_floor", 1e-5, "audio is read with mel_floor 0.001; feature_extractor says 1e-05"),
        ("feature_extractor", "per_bin_mean", [0.0], "per_bin_mean None"),
    ],
)
def test_media_that_are_prepared_otherwise_are_refused_by_field(
    tmp_path: Path, part: str, field: str, value: Any, words: str
) -> None:
    folder = write(tmp_path / "gemma", tiny(), **{part: {field: value}})
    with pytest.raises(CheckpointError, match=words):
        read_sizes(folder)


def test_what_is_no_embedding_gemma2_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "gemma", tiny())
    state = torch.load(folder.path / "pytorch_model.bin")
    torch.save({**state, "head.weight": torch.ones(1)}, folder.path / "pytorch_model.bin")
    with pytest.raises(KeyMismatch, match=r"head\.weight"):
        plan_embedding_gemma2(folder, read_sizes(folder))
    (folder.path / "config.json").write_text('{"model_type": "gemma3_text"}')
    with pytest.raises(CheckpointError, match="is of gemma3_text, not of embedding_gemma2"):
        read_sizes(folder)
    text = write(tmp_path / "text", tiny(vision_config=None, audio_config=None))
    with pytest.raises(CheckpointError, match="texts alone"):
        read_sizes(text)


def test_two_encoders_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", "--embedding-gemma2", "a", "--languagebind", "b", "--llm", "c", "--out", str(tmp_path / "made")]
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
