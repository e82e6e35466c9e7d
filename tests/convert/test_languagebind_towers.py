"""LanguageBind's towers of sound, depth and heat: what they compute, LoRA that is merged, and a folder with all."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor, nn

from pandagpt_core.checkpoints import PandaGPTFolder, module_shapes, read_folder_of
from pandagpt_core.convert.languagebind import LanguageBindFolders, plan_languagebind, read_sizes
from pandagpt_core.encoders.base import Encoder
from pandagpt_core.encoders.languagebind import LanguageBind
from pandagpt_core.errors import CheckpointError, KeyMismatch
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.media.samples import depth_map, film, picture, tone, warm_picture, words
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from service import cli
from tests.convert.tiny_languagebind import SOUND, clip, languagebind_folders, listening, tuned, write
from tests.convert.tiny_llms import FAMILIES, write_llm

MEDIA: Mapping[Modality, tuple[bytes, dict[str, float | str]]] = {
    Modality.IMAGE: (picture(), {}),
    Modality.TEXT: (words(), {}),
    Modality.VIDEO: (film(), {}),
    Modality.AUDIO: (tone(), {}),
    Modality.DEPTH: (depth_map(), {"unit": "m"}),
    Modality.THERMAL: (warm_picture(), {}),
}


@pytest.fixture
def folders(tmp_path: Path) -> LanguageBindFolders:
    named = languagebind_folders(tmp_path)
    return LanguageBindFolders(
        **{option.removeprefix("--languagebind").strip("-") or "image": one for option, one in named.items()}
    )


def converted(folders: LanguageBindFolders, tmp_path: Path, dtype: str = "float32") -> Path:
    write_llm(FAMILIES["qwen2.5"], tmp_path / "llm")
    given = {
        f"--languagebind{'' if name == 'image' else f'-{name}'}": folder
        for name, folder in dataclasses.asdict(folders).items()
        if folder is not None
    }
    options = [str(word) for pair in given.items() for word in pair]
    into = ["--llm", str(tmp_path / "llm"), "--out", str(tmp_path / "made"), "--dtype", dtype]
    assert cli.main(["convert", *options, *into]) == 0
    return tmp_path / "made"


def encoder_of(folder: Path) -> Encoder:
    return load_encoder(folder, read_folder_of(folder, PandaGPTFolder), "cpu")


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def test_sounds_are_embedded_as_by_the_parts_of_transformers(folders: LanguageBindFolders, tmp_path: Path) -> None:
    encoder = encoder_of(converted(folders, tmp_path))
    sounds = noise(2, 3, 112, 1036)
    model = listening()
    vision = model.vision_model
    with torch.no_grad():
        patches = vision.embeddings.patch_embedding(sounds).flatten(2).transpose(1, 2)
        x = torch.cat([vision.embeddings.class_embedding.expand(2, 1, -1), patches], dim=1)
        x = vision.pre_layrnorm(x + vision.embeddings.position_embedding.weight)
        for layer in vision.encoder.layers:
            out = layer(x, None)
            x = out[0] if isinstance(out, tuple) else out
        rows = model.visual_projection(vision.post_layernorm(x[:, 0]))
    wanted = nn.functional.normalize(rows, dim=-1)
    torch.testing.assert_close(encoder.encode(Modality.AUDIO, sounds), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("modality", [Modality.DEPTH, Modality.THERMAL])
def test_lora_is_merged_into_what_peft_computes_with_it(
    folders: LanguageBindFolders, tmp_path: Path, modality: Modality
) -> None:
    encoder, pictures, model = encoder_of(converted(folders, tmp_path)), noise(2, 3, 224, 224), tuned()
    with torch.no_grad():
        seen = model.get_image_features(pixel_values=pictures)
    rows = seen if isinstance(seen, Tensor) else seen.pooler_output
    wanted = nn.functional.normalize(rows, dim=-1)
    torch.testing.assert_close(encoder.encode(modality, pictures), wanted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(encoder.encode(Modality.IMAGE, pictures), wanted, atol=1e-2)


def test_every_medium_of_a_folder_with_all_towers_is_answered(folders: LanguageBindFolders, tmp_path: Path) -> None:
    folder = converted(folders, tmp_path)
    stated = read_folder_of(folder, PandaGPTFolder)
    named = [one["file"].partition("/")[0] for one in stated.provenance["towers"]]
    assert named == [one.name for one in folders.further.values()]
    runtime = load_model(folder, RuntimeOptions(dtype="float32", runner="torch", max_sequences=len(MEDIA)))
    assert set(runtime.info.recipes) == set(MEDIA) == set(runtime.info.tower_digests)
    for modality, (data, params) in MEDIA.items():
        rows = runtime.encode(modality, [load(runtime.info.recipes[modality], data, params, Limits())])
        asked = Conversation((Turn("user", "What is it?"),), (MediaUse(modality, "a", 0),))
        greedy = SamplingParams(max_tokens=2, temperature=0.0, ignore_eos=True)
        runtime.admit(SequenceRequest(modality, asked, rows, greedy))
    outputs = []
    while runtime.has_work:
        outputs += runtime.step()
    assert {one.sequence_id for one in outputs} == set(MEDIA)


def test_one_tower_changes_the_name_of_its_own_rows_alone(folders: LanguageBindFolders, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = clip()
    other = write(tmp_path / "Thermal_FT", plain, plain.state_dict())
    both = (folders, dataclasses.replace(folders, thermal=other))
    infos = [
        load_model(
            converted(one, tmp_path / name), RuntimeOptions(dtype="float32", runner="torch", max_sequences=1)
        ).info
        for one, name in zip(both, "ab", strict=True)
    ]
    one, two = (info.tower_digests for info in infos)
    assert {name for name in one if one[name] != two[name]} == {"thermal"}
    assert infos[0].encoder_digest != infos[1].encoder_digest


def test_every_key_of_the_published_sizes_of_the_sound_tower_is_accounted_for(tmp_path: Path) -> None:
    """24 layers of 1,024, and positions for 8 x 74 patches: the figures of LanguageBind_Audio_FT's config.json."""
    large = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = transformers.CLIPConfig(text_config=text, vision_config={**large, "patch_size": 14}, projection_dim=768)
    with torch.device("meta"):
        model = transformers.CLIPModel(config)
    folders = LanguageBindFolders(
        write(tmp_path / "image", model, {}), audio=write(tmp_path / "audio", model, {}, **{**SOUND, "patch_size": 14})
    )
    ours = module_shapes(LanguageBind(read_sizes(folders)))
    heard = {key.removeprefix("audio."): shape for key, shape in ours.items() if key.startswith("audio.")}
    vision = {key: one for key, one in module_shapes(model).items() if key.startswith(("vision_model", "visual"))}
    positions = "vision_model.embeddings.position_embedding.weight"
    assert heard == {**vision, positions: (8 * 74 + 1, 1024)}


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("audio", {"num_mel_bins": 126}, "num_mel_bins 112; its config.json says 126"),
        ("audio", {"audio_std": 9.1}, "audio_std 4.569; its config.json says 9.1"),
        ("depth", {"max_depth": 0}, "max_depth 10; its config.json says 0"),
        ("depth", {}, "max_depth 10; its config.json states none"),
    ],
)
def test_a_tower_whose_media_are_prepared_otherwise_is_refused_by_field(
    tmp_path: Path, name: str, changes: dict[str, float], words: str
) -> None:
    model = clip()
    fields = {**(SOUND if name == "audio" else {}), **changes}
    image = write(tmp_path / "image", model, model.state_dict())
    other = write(tmp_path / "other", model, {}, **fields)
    with pytest.raises(CheckpointError, match=words):
        read_sizes(LanguageBindFolders(image, **{name: other}))


def test_lora_that_misses_a_projection_stops_the_conversion(folders: LanguageBindFolders, tmp_path: Path) -> None:
    half = tuned(targets=("q_proj", "v_proj"))
    lora = write(tmp_path / "half", clip(), half.state_dict(), lora_r=4, lora_alpha=16)
    some = LanguageBindFolders(folders.image, thermal=lora)
    with pytest.raises(KeyMismatch, match=r"k_proj\.lora_A"):
        plan_languagebind(some, read_sizes(some))


def test_a_further_tower_needs_the_one_of_pictures(
    folders: LanguageBindFolders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--languagebind-audio", str(folders.audio), "--llm", str(tmp_path), "--out", str(tmp_path / "made")]
    assert cli.main(["convert", *given]) == 2
    assert "--languagebind" in capsys.readouterr().err
