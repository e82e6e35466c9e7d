"""The engine that a worker's settings ask for, and its arguments."""

import importlib.util
import re
from pathlib import Path
from typing import Literal

import pytest

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.engine.vllm.calls import FIXED, NAMED
from service import settings
from service.logs import FIELDS
from service.settings import SettingsError, WorkerSettings
from service.settings.worker import UNFIT
from service.worker.main import engine_config, load_runtime, vllm_options

SIZES = ImageBindSizes(**{name: TowerSize(48 if name == "depth" else 64, 2, 4) for name in TOWERS}, out=32, vocab=512)


def test_the_guides_example_is_a_valid_choice(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (root / "docs/guides/vllm.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.toml").write_text(example, encoding="utf-8")
    monkeypatch.setenv("PANDAGPT_CONFIG", str(tmp_path / "example.toml"))
    chosen = vllm_options(settings.load().worker)
    assert chosen is not None
    assert chosen.arguments["tensor_parallel_size"] == 4
    assert all(f"`{name}`" in page for name in (*FIXED, *NAMED, *UNFIT["vllm"]))


def test_what_is_set_reaches_our_engine() -> None:
    config = engine_config(WorkerSettings(reserve="current", prefix_tokens=40, batch_turn=3, batch_share=5))
    assert (config.reserve, config.prefix_blocks, config.batch_turn, config.batch_share) == ("current", 3, 3, 5)
    assert [engine_config(WorkerSettings(speculative_tokens=n)).speculative_tokens for n in (0, 4)] == [0, 4]
    assert engine_config(WorkerSettings()).prefix_blocks is None
    assert engine_config(WorkerSettings(prefix_tokens=0)).prefix_blocks == 0


def test_vllm_gets_its_options_where_it_is_chosen() -> None:
    assert vllm_options(WorkerSettings()) is None
    chosen = vllm_options(WorkerSettings(engine="vllm", vllm_cache=Path("x"), vllm_options={"nnodes": 2}))
    assert chosen is not None
    assert (chosen.cache, chosen.arguments) == (Path("x"), {"nnodes": 2})


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiny"
    tiny = golden / "pandagpt-tiny"
    originals = PandaGPTOriginals(
        golden / "imagebind-tiny" / "weights.safetensors",
        tiny / "vicuna_tiny",
        tiny / "pandagpt_ckpt" / "pytorch_model.pt",
    )
    convert_pandagpt(originals, out, PandaGPTOptions(model_id="tiny", sizes=SIZES, max_model_len=128))
    return out


def test_the_sizes_of_our_engine_are_as_set(folder: Path) -> None:
    wanted = WorkerSettings(
        model=folder, device="cpu", dtype="float32", max_sequences=2, cache_tokens=256, prefix_tokens=64
    )
    stats = load_runtime(wanted).stats()
    assert (stats.kv_blocks_total, stats.prefix.blocks_total) == (16, 4)


@pytest.mark.parametrize(("dtype", "precision"), [("auto", "fp32"), ("bfloat16", "bf16")])
def test_the_log_says_in_which_precision_the_model_computes(
    folder: Path, caplog: pytest.LogCaptureFixture, dtype: Literal["auto", "bfloat16"], precision: str
) -> None:
    caplog.set_level("INFO")
    load_runtime(WorkerSettings(model=folder, device="cpu", dtype=dtype))
    assert [record.__dict__["precision"] for record in caplog.records if record.msg == "model loaded"] == [precision]
    assert "precision" in FIELDS


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"enable_lora": True}, "worker: vllm_options may not hold enable_lora"),
        ({}, r"worker: vLLM cannot be imported .* install -e '\.\[vllm\]'"),
    ],
)
def test_a_vllm_that_cannot_be_is_a_wrong_setting(
    folder: Path, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    if not options and importlib.util.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed here")
    wanted = WorkerSettings(
        model=folder, device="cpu", dtype="float32", engine="vllm", vllm_cache=tmp_path, vllm_options=options
    )
    with pytest.raises(SettingsError, match=said):
        load_runtime(wanted)
