"""PandaGPT folders with several soft tokens a medium: rows, slots, names in caches, and folders that do not fit."""

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import (
    CONFIG,
    RESAMPLER,
    CacheSpec,
    PandaGPTFolder,
    file_digest,
    read_folder_of,
    write_model_folder,
)
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.errors import CheckpointError, InvalidRequest, KeyMismatch
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.systems.pandagpt import PandaGPT
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from tests.soft_tokens import with_soft_tokens

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)
K = 4
QUESTION = (Turn("user", "What is it?"),)
PICTURE, SOUND = MediaUse(Modality.IMAGE, "a", 0), MediaUse(Modality.AUDIO, "b", 0)
SHAPES = {
    Modality.IMAGE: (1, 3, 224, 224),
    Modality.VIDEO: (4, 3, 2, 224, 224),
    Modality.AUDIO: (3, 1, 128, 204),
    Modality.DEPTH: (1, 1, 224, 224),
    Modality.THERMAL: (1, 1, 224, 224),
    Modality.IMU: (2, 6, 2000),
}


@pytest.fixture(scope="module")
def plain(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    tiny = golden / "pandagpt-tiny"
    imagebind = golden / "imagebind-tiny" / "weights.safetensors"
    originals = PandaGPTOriginals(imagebind, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt")
    convert_pandagpt(originals, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=128))
    return out


@pytest.fixture(scope="module")
def soft(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_soft_tokens(plain, tmp_path_factory.mktemp("models") / "soft", K)


@pytest.fixture(scope="module")
def system(soft: Path) -> PandaGPT:
    loaded = load_system(soft, LoadOptions())
    assert isinstance(loaded, PandaGPT)
    return loaded


@pytest.fixture
def copied(soft: Path, tmp_path: Path) -> Path:
    """The folder once more, to be spoilt."""
    return Path(shutil.copytree(soft, tmp_path / "copied"))


def media(modality: Modality, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPES[modality], dtype=np.float32)


@pytest.mark.parametrize("modality", list(SHAPES))
def test_a_medium_has_its_embedding_and_k_rows(modality: Modality, plain: Path, system: PandaGPT) -> None:
    arrays = [media(modality, seed) for seed in range(2)]
    rows = system.encode(modality, arrays)
    assert rows.shape == (2, 1 + K, 32)
    paper = load_system(plain, LoadOptions()).encode(modality, arrays)
    torch.testing.assert_close(rows[:, :1], paper)
    torch.testing.assert_close(system.unit(modality, rows[0]), torch.nn.functional.normalize(paper[0, 0], dim=-1))
    assert float((rows[0, 1:, None] - rows[0, None, 1:]).abs().amax(dim=-1).fill_diagonal_(1.0).min()) > 1e-3
    torch.testing.assert_close(system.encode(modality, arrays[1:]), rows[1:], atol=1e-5, rtol=1e-5)


def test_a_text_is_read_up_to_its_end(system: PandaGPT) -> None:
    ids = np.zeros((2, 77), np.int64)
    ids[:, :4] = [5, 6, 7, 511]
    ids[1, 4:] = 9  # the part behind the end
    rows = system.encode(Modality.TEXT, [ids[:1], ids[1:]])
    torch.testing.assert_close(rows[0], rows[1])


def test_the_prompt_has_k_slots_in_the_rows_order(system: PandaGPT) -> None:
    rows = system.encode(Modality.IMAGE, [media(Modality.IMAGE)])[0]
    inputs = system.prepare(Conversation(QUESTION, (PICTURE,)), [rows])
    at = [index for index, token in enumerate(inputs.ids) if token < 0]
    assert at == list(range(at[0], at[0] + K))
    torch.testing.assert_close(inputs.embeds[at], system.projection(rows[1:]))
    assert len({inputs.ids[index] for index in at}) == K


def test_several_media_are_summed_row_by_row_by_their_weights(system: PandaGPT) -> None:
    picture = system.encode(Modality.IMAGE, [media(Modality.IMAGE)])[0]
    sound = system.encode(Modality.AUDIO, [media(Modality.AUDIO)])[0]
    uses = (PICTURE, MediaUse(Modality.AUDIO, "b", 0, 0.5))
    inputs = system.prepare(Conversation(QUESTION, uses), [picture, sound])
    at = [index for index, token in enumerate(inputs.ids) if token < 0]
    expected = system.projection(picture[1:]) + 0.5 * system.projection(sound[1:])
    torch.testing.assert_close(inputs.embeds[at], expected)
    again = (PICTURE, MediaUse(Modality.IMAGE, "a", 2))  # the same picture in a later turn counts once
    turns = (*QUESTION, Turn("assistant", "A dog."), Turn("user", "And now?"))
    twice = system.prepare(Conversation(turns, again), [picture, picture])
    once = [index for index, token in enumerate(twice.ids) if token < 0]
    torch.testing.assert_close(twice.embeds[once], system.projection(picture[1:]))


def test_a_vector_without_rows_stands_in_each_slot(system: PandaGPT) -> None:
    vector = torch.linspace(-1, 1, 32)[None]
    inputs = system.prepare(Conversation(QUESTION, (PICTURE,)), [vector])
    at = [index for index, token in enumerate(inputs.ids) if token < 0]
    torch.testing.assert_close(inputs.embeds[at], system.projection(vector).expand(K, -1))


def test_rows_of_another_number_are_refused(system: PandaGPT) -> None:
    with pytest.raises(InvalidRequest, match=r"shape \(3, 32\), the model's are \(5, 32\)"):
        system.prepare(Conversation(QUESTION, (PICTURE,)), [torch.ones(3, 32)])


def test_the_runtime_answers_and_explains_by_all_rows(soft: Path) -> None:
    runtime = load_model(soft, RuntimeOptions(max_sequences=2))
    rows = runtime.encode(Modality.IMAGE, [media(Modality.IMAGE)])
    params = SamplingParams(max_tokens=6, temperature=0.0, ignore_eos=True)
    request = SequenceRequest("a", Conversation(QUESTION, (PICTURE,)), rows, params)
    admitted = runtime.admit(request)
    tokens = []
    while runtime.has_work:
        tokens += [output.token_id for output in runtime.step()]
    assert len(tokens) == 6
    text_only = runtime.tokenize(Conversation(QUESTION))
    assert admitted.prompt_tokens > len(text_only) + K
    *_, fields = runtime.explain(request, tokens)
    assert fields is not None
    assert fields["contributions"]["media"][0]["gain"] != 0.0


def test_rows_are_named_by_the_towers_and_the_resampler(plain: Path, soft: Path, tmp_path: Path) -> None:
    """Equal names let caches give one folder's rows to another."""
    other = with_soft_tokens(plain, tmp_path / "other", K, seed=1)
    same = with_soft_tokens(plain, tmp_path / "same", K)
    infos = {path: load_system(path, LoadOptions()).info for path in (plain, soft, other, same)}
    for modality in infos[plain].recipes:
        names = {path: info.digest_of(modality) for path, info in infos.items()}
        assert names[same] == names[soft]
        assert len({names[plain], names[soft], names[other]}) == 3
    assert len({infos[path].encoder_digest for path in (plain, soft, other)}) == 3
    assert infos[same].encoder_digest == infos[soft].encoder_digest
    towers = {read_folder_of(path, PandaGPTFolder).towers_digest for path in infos}
    assert towers == {read_folder_of(plain, PandaGPTFolder).encoder_digest}


def test_a_resampler_with_a_key_too_few_is_refused_by_the_key(copied: Path) -> None:
    state = load_file(copied / RESAMPLER)
    del state["towers.audio.queries"]
    save_file(state, copied / RESAMPLER)
    with pytest.raises(KeyMismatch, match=r"(?s)resampler\.safetensors.*missing: towers\.audio\.queries"):
        load_system(copied, LoadOptions(verify=False))


def test_a_resampler_of_other_sizes_is_refused_by_the_key(copied: Path) -> None:
    config = json.loads((copied / CONFIG).read_text())
    config["soft_tokens"]["count"] = K + 1
    (copied / CONFIG).write_text(json.dumps(config))
    with pytest.raises(KeyMismatch, match=r"towers\.vision\.queries"):
        load_system(copied, LoadOptions(verify=False))


def test_a_resampler_for_other_towers_is_refused_with_both_widths(copied: Path) -> None:
    config = json.loads((copied / CONFIG).read_text())
    config["soft_tokens"]["towers"]["vision"] = 65
    (copied / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"'vision': 65.*'vision': 64"):
        load_system(copied, LoadOptions(verify=False))


@pytest.mark.parametrize("dropped", ["soft_tokens", RESAMPLER])
def test_a_section_without_its_file_is_refused_and_a_file_without_its_section(dropped: str, copied: Path) -> None:
    config = json.loads((copied / CONFIG).read_text())
    config.pop(dropped, None)
    config["files"].pop(dropped, None)
    (copied / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"soft_tokens and resampler\.safetensors go together"):
        load_system(copied, LoadOptions(verify=False))


def test_a_cache_of_pictures_beside_soft_tokens_is_refused(soft: Path) -> None:
    with pytest.raises(ValueError, match="soft_tokens cannot stand beside cache"):
        msgspec.structs.replace(read_folder_of(soft, PandaGPTFolder), cache=CacheSpec(rows=4))


def test_an_encoder_without_tokens_is_refused_by_its_kind(root: Path, copied: Path) -> None:
    mini = read_folder_of(root / "models" / "panda-mini", PandaGPTFolder)
    spec = read_folder_of(copied, PandaGPTFolder).soft_tokens
    for name in mini.files:
        (copied / name).unlink(missing_ok=True)
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).symlink_to(root / "models" / "panda-mini" / name)
    projection = msgspec.structs.replace(mini.projection, recall=None)
    files = {**mini.files, RESAMPLER: file_digest(copied / RESAMPLER)}
    folder = msgspec.structs.replace(
        mini, projection=projection, perception=None, cache=None, lora=None, soft_tokens=spec, files=files
    )
    adapter = load_file(root / "models" / "panda-mini" / "adapter.safetensors")
    (copied / "adapter.safetensors").unlink()
    save_file({k: adapter[k] for k in ("projection.weight", "projection.bias")}, copied / "adapter.safetensors")
    write_model_folder(copied, folder)
    with pytest.raises(CheckpointError, match="the encoder mini gives no tokens"):
        load_system(copied, LoadOptions(verify=False))
