"""The command from the authors' files on a host to a model folder that answers."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pandagpt_core.checkpoints import read_model_folder
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.training.evaluation.answerer import Asked, Held
from pandagpt_core.training.evaluation.local import open_model
from pandagpt_core.types import Modality
from service import cli
from service.commands.models.fetch import KnownAnswer, self_test
from service.commands.models.fetching.downloader import locked
from tests.commands.models.fetching.mirror import Mirror, mirrored
from tests.convert.deltas import as_delta
from tests.golden import imagebind_sizes
from tests.parity.bind_tiny import SIZES
from tests.parity.bind_tiny import originals as bind_originals

ENCODER, DELTA = "imagebind_huge.pth", "pandagpt_7b_max_len_1024/pytorch_model.pt"


@pytest.fixture
def files(tmp_path: Path, golden: Path) -> Path:
    """The tiny originals under the table's names: LLaMA, Vicuna's delta in shards, ImageBind, PandaGPT's delta."""
    folder = tmp_path / "files"
    as_delta(golden / "pandagpt-tiny" / "vicuna_tiny", folder / "llama-7b", folder / "vicuna-7b-delta-v0")
    torch.save(load_file(golden / "imagebind-tiny" / "weights.safetensors"), folder / ENCODER)
    (folder / DELTA).parent.mkdir()
    shutil.copyfile(golden / "pandagpt-tiny" / "pandagpt_ckpt" / "pytorch_model.pt", folder / DELTA)
    return folder


@pytest.fixture
def mirror(files: Path) -> Iterator[Mirror]:
    with mirrored({}) as made:
        made.add(files, "m")
        yield made


@pytest.fixture
def words(tmp_path: Path, golden: Path) -> list[str]:
    """The call without its places."""
    (tmp_path / "sizes.json").write_text(json.dumps(imagebind_sizes(golden).to_config()))
    options = {"--out": "made", "--downloads": "downloads", "--imagebind-sizes": "sizes.json"}
    named = [str(word) for option, name in options.items() for word in (option, tmp_path / name)]
    return ["fetch", "pandagpt-7b", "--accept-licence", *named]


def test_pandagpt_comes_from_a_mirror_that_breaks_off(
    mirror: Mirror, words: list[str], tmp_path: Path, golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.cuts[f"/m/{ENCODER}"] = [1_000_000]
    assert cli.main([*words, "--from", f"{mirror.url}/m"]) == 0
    assert mirror.ranges(f"/m/{ENCODER}") == [None, "bytes=1000000-"]
    assert "each with the digest that config.json names" in capsys.readouterr().out
    assert read_model_folder(tmp_path / "made").id == "pandagpt-7b"
    tiny = golden / "pandagpt-tiny"
    direct = PandaGPTOriginals(
        tmp_path / "files" / ENCODER, tiny / "vicuna_tiny", tiny / "pandagpt_ckpt" / "pytorch_model.pt"
    )
    convert_pandagpt(direct, tmp_path / "direct", PandaGPTOptions("direct", sizes=imagebind_sizes(golden)))
    assert answer(tmp_path / "made") == answer(tmp_path / "direct") != ""


def answer(folder: Path) -> str:
    sample = Path(__file__).parents[3] / "samples" / "dog.png"
    return open_model(folder).answer([Asked("What is this?", (Held(Modality.IMAGE, sample.read_bytes()),))], 12)[0]


def test_a_second_call_downloads_nothing_again(mirror: Mirror, words: list[str], tmp_path: Path) -> None:
    assert cli.main([*words, "--from", f"{mirror.url}/m"]) == 0
    shutil.rmtree(tmp_path / "made")
    mirror.asked.clear()
    assert cli.main([*words, "--from", f"{mirror.url}/m"]) == 0
    assert mirror.asked == []


def test_a_folder_of_files_is_read_in_place(files: Path, words: list[str], tmp_path: Path) -> None:
    before = sorted(files.rglob("*"))
    assert cli.main([*words, "--from", str(files)]) == 0
    assert sorted(files.rglob("*")) == before
    assert {one.name for one in (tmp_path / "downloads").iterdir()} == {".lock", "SHA256SUMS", "vicuna-7b-v0"}


def test_a_language_model_that_is_whole_needs_no_delta(
    files: Path, words: list[str], tmp_path: Path, golden: Path
) -> None:
    shutil.rmtree(files / "llama-7b")
    shutil.rmtree(files / "vicuna-7b-delta-v0")
    shutil.copytree(golden / "pandagpt-tiny" / "vicuna_tiny", files / "vicuna-7b-v0")
    assert cli.main([*words, "--from", str(files)]) == 0
    assert read_model_folder(tmp_path / "made").system == "pandagpt"


def test_imagebind_llm_gets_its_chinese_base(golden: Path, tmp_path: Path, words: list[str]) -> None:
    made = bind_originals(golden, tmp_path)
    files = tmp_path / "files"
    base = torch.load(made.llama / "7B" / "consolidated.00.pth", weights_only=True)
    shutil.copytree(made.llama, files / "llama")
    (files / "llama" / "7B").chmod(0o755)
    rounded = {key: value.bfloat16().float() for key, value in base.items()}
    (files / "llama" / "7B" / "consolidated.00.pth").unlink()
    torch.save(rounded, files / "llama" / "7B" / "consolidated.00.pth")
    (files / "7B_chinese_delta").mkdir()
    difference = {key: value.float() - rounded[key] for key, value in base.items()}
    torch.save(difference, files / "7B_chinese_delta" / "consolidated.00.pth")
    shutil.copyfile(made.llama / "7B" / "params.json", files / "7B_chinese_delta" / "params.json")
    torch.save(load_file(made.imagebind), files / ENCODER)
    shutil.copyfile(made.adapter or Path(), files / "7B.pth")
    shutil.copyfile(made.cache or Path(), files / "knn.index")
    (tmp_path / "sizes.json").write_text(json.dumps(SIZES.to_config()))
    assert cli.main(["fetch", "imagebind-llm-7b", *words[2:], "--from", str(files)]) == 0
    assert read_model_folder(tmp_path / "made").system == "imagebind-llm"
    summed = load_file(tmp_path / "downloads" / "7B_chinese" / "consolidated.00.safetensors")
    assert [key for key, value in summed.items() if not torch.equal(value, base[key].float())] == []


def test_minigpt_v2_is_made_of_given_files(golden: Path, tmp_path: Path, words: list[str]) -> None:
    tiny, files = golden / "minigpt-v2-tiny", tmp_path / "files"
    shutil.copytree(tiny / "llama2_tiny", files / "Llama-2-7b-chat-hf")
    state = load_file(tiny / "weights.safetensors")
    head = "visual_encoder."
    torch.save({key.removeprefix(head): value for key, value in state.items() if key.startswith(head)},
               files / "eva_vit_g.pth")  # fmt: skip
    shutil.copyfile(tiny / "checkpoint_0.pth", files / "checkpoint.pth")
    (tmp_path / "eva.json").write_text(json.dumps({"width": 48, "blocks": 3, "heads": 4, "mlp": 209}))
    options = ["--eva-sizes", str(tmp_path / "eva.json"), "--lora-alpha", "2", "--from", str(files)]
    assert cli.main(["fetch", "minigpt-v2-7b", *words[2:], *options]) == 0
    assert read_model_folder(tmp_path / "made").system == "minigpt-v2"


def test_without_the_licence_the_terms_are_listed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words.remove("--accept-licence")
    assert cli.main(words) == 2
    listed = capsys.readouterr().err
    assert "imagebind_huge.pth: CC BY-NC-SA 4.0 (no commercial use" in listed
    assert "the folder llama-7b must be given by --from; its authors publish it at https://" in listed


def test_a_full_disk_is_refused_by_numbers(
    mirror: Mirror, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror.claimed[f"/m/{ENCODER}"] = 10**18
    assert cli.main([*words, "--from", f"{mirror.url}/m"]) == 2
    message = capsys.readouterr().err
    assert "bytes are needed (downloads 1,000,000,0" in message
    assert "the disk has" in message
    assert mirror.ranges(f"/m/{ENCODER}") == []


def test_files_that_must_be_given_are_all_named(
    files: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "eva_vit_g.pth").write_bytes(b"eva")
    assert cli.main(["fetch", "minigpt-v2-7b", *words[2:], "--from", str(files)]) == 2
    message = capsys.readouterr().err
    assert "the folder Llama-2-7b-chat-hf must be given by --from; its authors publish it at" in message
    assert "the file checkpoint.pth must be given by --from" in message


def test_two_calls_never_write_one_folder_of_downloads(
    files: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path / "downloads"):
        assert cli.main([*words, "--from", str(files)]) == 2
    assert "another `pandagpt fetch` uses" in capsys.readouterr().err


def test_a_place_that_does_not_exist_is_a_mistake(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--from", "nowhere"]) == 2
    assert "--from nowhere: there is no such folder" in capsys.readouterr().err


def test_a_model_that_does_not_name_the_dog_fails_its_test(
    files: Path, words: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--from", str(files), "--self-test", "--samples", str(root / "samples")]) == 1
    assert "the folder was made, and the self-test failed" in capsys.readouterr().err


class Names:
    """An answerer that names the kind of medium and what its file is called."""

    name = "names"
    modalities = frozenset({Modality.IMAGE})

    def answer(self, asked: Sequence[Asked], tokens: int) -> list[str]:
        return [f"It is a {Path(one.media[0].name).stem.title()}." for one in asked]

    def embed(self, media: Sequence[Held]) -> np.ndarray:
        raise NotImplementedError  # the protocol has it; a self test embeds nothing


def test_only_media_that_the_model_takes_are_asked_about(root: Path) -> None:
    assert list(self_test(Names(), root / "samples")) == [KnownAnswer("dog.png", "It is a Dog.", True)]


def test_a_self_test_without_its_samples_is_refused_first(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--self-test", "--samples", str(tmp_path)]) == 2
    assert "--self-test needs dog.png and dog.flac in" in capsys.readouterr().err


def test_a_delta_of_another_model_is_refused(
    files: Path, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = files / "llama-7b" / "model.safetensors"
    state = load_file(weights)
    state["model.norm.weight"] = state["model.norm.weight"][:32].clone()
    save_file(state, weights)
    assert cli.main([*words, "--from", str(files)]) == 2
    assert "the base of the delta" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
