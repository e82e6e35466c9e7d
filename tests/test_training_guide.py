"""The guide to training is true: its settings and data are read, its commands parsed, and a run of them is made."""

import json
import re
import shlex
import shutil
import tomllib
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from pandagpt_core.checkpoints import (
    ADAPTER,
    PandaGPTFolder,
    as_system,
    read_model_folder,
    read_tensors,
    verify_files,
    write_model_folder,
)
from pandagpt_core.perception.table import read_name_table
from pandagpt_core.training.align import settings as align_settings
from pandagpt_core.training.align.pairs import read_pairs
from pandagpt_core.training.align.settings import AlignSettings
from pandagpt_core.training.evaluation import read_manifest
from pandagpt_core.training.tune.data.samples import read_samples
from pandagpt_core.training.tune.outputs import write_model
from pandagpt_core.training.tune.record import read_log
from pandagpt_core.training.tune.settings import parse_tune_settings, read_tune_settings, table
from pandagpt_core.types import Modality
from service import cli
from tests.conftest import ROOT
from tests.contract import made
from tests.training.conftest import _fresh_accelerate, tiny_folder, tiny_originals  # noqa: F401  fixtures

PAGE = ROOT / "docs/guides/training.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811  the fixture
    """The files that the guide names, with a tiny model."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "base").symlink_to(tiny_folder)
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "bark.wav").write_bytes(made.sound("wav"))
    Image.new("RGB", (40, 30), "brown").save(tmp_path / "media" / "dog.png")
    data, captions, _ = blocks("json")
    (tmp_path / "captions.json").write_text(captions)
    (tmp_path / "conversations.json").write_text(data)
    settings, manifest, *_ = blocks("toml")
    (tmp_path / "run.toml").write_text(settings)
    (tmp_path / "media" / "photos.toml").write_text(manifest)
    shutil.copy(tmp_path / "media" / "photos.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_of_keys_is_the_codes() -> None:
    trained, aligned = table(), table(AlignSettings)
    keys = f"Settings of `pandagpt train`:\n\n{trained}\nSettings of `pandagpt align`:\n\n{aligned}"
    assert PAGE.read_text(encoding="utf-8").endswith(f"## Keys\n\n{keys}"), "the page is stale: settings.table()"


def test_the_settings_are_read() -> None:
    settings = parse_tune_settings(tomllib.loads(blocks("toml")[0]))
    assert (settings.train.batch, settings.lora.r, settings.train.lr) == (256, 32, 5e-4)


def test_the_settings_and_pairs_of_an_alignment_are_read(tmp_path: Path) -> None:
    said = align_settings.parse_align_settings(tomllib.loads(blocks("toml")[2]))
    assert (said.modality, said.train.start) == ("imu", "fresh")
    (tmp_path / "pairs.json").write_text(blocks("json")[2])
    assert len(read_pairs([tmp_path / "pairs.json"], Modality.IMU)) == 2


def test_the_settings_of_several_soft_tokens_are_read() -> None:
    said = tomllib.loads(blocks("toml")[3])
    settings = parse_tune_settings(said)
    assert settings.soft_tokens == said["soft_tokens"] == 4
    assert settings.resampler == type(settings.resampler)(), "the page shows the defaults"


def test_every_command_is_a_right_call() -> None:
    lines = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    called = []
    for words in lines:
        program = words.index("service.cli") if "service.cli" in words else 0
        name, *rest = words[program + 1 :]
        parser = ArgumentParser(exit_on_error=False)
        import_module(cli.COMMANDS[name][0]).configure(parser)
        parser.parse_args(rest)
        called.append(words[0])
    assert set(called) == {"pandagpt", "torchrun", "accelerate"}


def test_accelerate_reads_the_configuration(tmp_path: Path) -> None:
    config = pytest.importorskip("accelerate.commands.config.config_args")
    (tmp_path / "eight.yaml").write_text(blocks("yaml")[0])
    read = config.load_config_from_file(str(tmp_path / "eight.yaml"))
    assert (str(read.distributed_type.value), read.num_processes) == ("DEEPSPEED", 8)


def test_a_trial_run_by_the_guide_goes_on_and_is_evaluated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [len(sample.media) for sample in read_samples([folder / "conversations.json"])] == [1, 1, 0]
    captions = read_samples([folder / "captions.json"])
    assert [sample.turns[1].value for sample in captions][-2:] == ["A dog sits in the grass.", "A brown dog."]
    smaller = (folder / "run.toml").read_text().replace("256", "8") + '\n[features]\ncache = "features"\n'
    (folder / "run.toml").write_text(smaller.replace("[train]", '[train]\ndevice = "cpu"\nmax_steps = 4'))
    trial, on = [shlex.split(line)[1:] for line in blocks("sh")[2].splitlines()]
    assert cli.main(trial) == 0
    assert "stopped after step 3 of 4; --resume goes on" in capsys.readouterr().out
    assert cli.main(on) == 0
    assert "serve it: pandagpt serve --model" in capsys.readouterr().out
    run = folder / "runs" / "13b"
    assert [line["step"] for line in read_log(run)] == [1, 2, 3, 4]
    told = re.findall(r"^\| `(.*?)`", PAGE.read_text(encoding="utf-8").split("## 5")[0], re.MULTILINE)
    assert all((run / name).exists() for name in told)
    assert len(read_manifest(folder / "media" / "photos.toml").items) == 2
    without_text(run / "model")
    words = ["eval", "--manifest", "media/photos.toml", "--model", "runs/13b/model", "--out", "runs/13b/photos"]
    assert cli.main(words) == 0
    said = json.loads((run / "photos" / "report.json").read_text())
    assert said["pairs"][0]["together"]["n"] == 1
    assert said["text_only"]["right"]["n"] == 1


def test_the_trial_of_the_samples_is_one_that_can_run(root: Path) -> None:
    settings = read_tune_settings(root / "samples/train.toml")
    samples = read_samples([Path(file) for file in settings.data.files])
    assert len(samples) == 14
    assert all((Path(settings.data.media) / medium.file).is_file() for sample in samples for medium in sample.media)
    folder = read_model_folder(Path(settings.model))
    assert folder.lora is not None
    assert (folder.lora.r, folder.lora.alpha) == (settings.lora.r, settings.lora.alpha)
    assert settings.train.max_steps * settings.train.batch <= 40, "the trial stays under three minutes of a processor"
    assert ".." not in "".join((settings.model, settings.out, settings.features.cache)), "as they are printed"
    assert len(read_manifest(root / "samples/manifest.toml").items) == 9


def test_the_trial_s_model_has_every_file_that_is_served(root: Path, tmp_path: Path) -> None:
    """Else the trial's next two commands, which evaluate and serve it, fail."""
    settings = read_tune_settings(root / "samples/train.toml")
    base = Path(settings.model)
    folder = as_system(read_model_folder(base), PandaGPTFolder)
    trained = {name: tensor for name, tensor in read_tensors(base / ADAPTER) if name != "projection.recall"}
    made = write_model(tmp_path / "model", base, folder, trained, settings.lora, "trial", {})
    verify_files(made, read_model_folder(made))
    assert folder.perception is not None
    assert read_name_table(made) == read_name_table(base)


def without_text(model: Path) -> None:
    """The tiny text tower knows 512 tokens, which is no words."""
    said = read_model_folder(model)
    recipes = {modality: recipe for modality, recipe in said.recipes.items() if modality != Modality.TEXT}
    write_model_folder(model, msgspec.structs.replace(said, recipes=recipes))
