"""Llama 3, Qwen2.5 and Qwen3 under PandaGPT: keys, logits, prompts, licences, training, service."""

import json
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import PreTrainedModel

from pandagpt_core.checkpoints import PandaGPTFolder, read_folder_of
from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.convert.llm import expected_shapes
from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.sizes import TOWERS, ImageBindSizes, TowerSize
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.media import Limits, load
from pandagpt_core.runtime import Runtime
from pandagpt_core.systems import LoadOptions, load_system
from pandagpt_core.training.tune.run import train
from pandagpt_core.training.tune.settings import TuneSettings
from pandagpt_core.types import Conversation, MediaUse, Modality, SamplingParams, Turn
from service import cli
from tests.convert.tiny_llms import FAMILIES, write_llm
from tests.serving import served

IMAGEBIND = ImageBindSizes(**{name: TowerSize(16, 1, 2) for name in TOWERS}, out=16, vocab=512)
STRETCH = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
# Published configs: widths, feed-forward, layers, heads, their key-value heads and vocabulary.
PUBLISHED = {
    "Llama 3 8B": ("llama", 4096, 14336, 32, 32, 8, 128256, {"rope_theta": 5e5}),
    "Llama 3.2 1B": (
        *("llama", 2048, 8192, 16, 32, 8, 128256),
        {
            "tie_word_embeddings": True,
            "head_dim": 64,
            "rope_scaling": STRETCH,
        },
    ),
    "Qwen2.5 7B": ("qwen2", 3584, 18944, 28, 28, 4, 152064, {}),
    "Qwen2.5 0.5B": ("qwen2", 896, 4864, 24, 14, 2, 151936, {"tie_word_embeddings": True}),
    "Qwen3 8B": ("qwen3", 4096, 12288, 36, 32, 8, 151936, {"head_dim": 128}),
    "Qwen3 0.6B": ("qwen3", 1024, 3072, 28, 16, 8, 151936, {"head_dim": 128, "tie_word_embeddings": True}),
}
ASKED = Conversation((Turn("user", "What is in the picture?"),), (MediaUse(Modality.IMAGE, "a", 0),))
GREEDY = SamplingParams(max_tokens=24, temperature=0.0, ignore_eos=True)


@pytest.fixture(scope="module")
def imagebind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random ImageBind in one file."""
    torch.manual_seed(0)
    model = ImageBind(IMAGEBIND, variant="pandagpt", device="cpu")
    state = {name: torch.randn(tensor.shape) * 0.1 for name, tensor in model.state_dict().items()}
    path = tmp_path_factory.mktemp("imagebind") / "imagebind.safetensors"
    save_file(state, path)
    return path


def converted(name: str, imagebind: Path, tmp_path: Path) -> tuple[Path, PreTrainedModel]:
    peer = write_llm(FAMILIES[name], tmp_path / "llm")
    out = tmp_path / "made"
    options = PandaGPTOptions(model_id="made", sizes=IMAGEBIND)
    convert_pandagpt(PandaGPTOriginals(imagebind, tmp_path / "llm"), out, options)
    return out, peer


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_key_of_the_published_sizes_is_accounted_for(name: str) -> None:
    """transformers' own class of the published config, without memory, has the keys that a conversion accounts for."""
    kind, width, ffn, layers, heads, kv_heads, vocabulary, changes = PUBLISHED[name]
    config = transformers.AutoConfig.for_model(
        kind,
        hidden_size=width,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        **changes,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    theirs = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert expected_shapes(LlamaConfig.from_hf(config.to_dict())) == theirs


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_and_greedy_answers_are_those_of_transformers(name: str, imagebind: Path, tmp_path: Path) -> None:
    folder, peer = converted(name, imagebind, tmp_path)
    ids = torch.randint(0, 250, (2, 100), generator=torch.Generator().manual_seed(1))
    llama = load_llama(folder / "llm")
    with torch.no_grad():
        torch.testing.assert_close(llama(llama.embed(ids)), peer(ids).logits, atol=1e-4, rtol=1e-4)
    system = load_system(folder, LoadOptions(runner="torch"))
    inputs = system.prepare(ASKED, [torch.ones(1, 16)])
    with torch.no_grad():
        wanted = peer.generate(
            inputs_embeds=inputs.embeds[None], max_new_tokens=24, do_sample=False, eos_token_id=10_000, pad_token_id=0
        )[0].tolist()
    runtime = load_model(folder, RuntimeOptions(dtype="float32", runner="torch", max_sequences=1))
    runtime.admit(SequenceRequest("a", ASKED, [torch.ones(1, 16).numpy()], GREEDY))
    outputs = []
    while runtime.has_work:
        outputs += runtime.step()
    assert [output.token_id for output in outputs] == wanted


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_is_prompted_as_its_family_and_its_licence_is_kept(name: str, imagebind: Path, tmp_path: Path) -> None:
    folder, _ = converted(name, imagebind, tmp_path)
    made = read_folder_of(folder, PandaGPTFolder)
    assert made.template == FAMILIES[name].template
    assert made.provenance["licences"] == {"encoder": "CC BY-NC-SA 4.0", "llm": "apache-2.0"}
    assert (folder / "llm" / "LICENSE").read_text() == "The terms.\n"
    system = load_system(folder, LoadOptions(runner="torch"))
    end = system.tokenizer.token_id(FAMILIES[name].control[-1])
    assert end in {*system.stops(SamplingParams()).stop_token_ids}


def test_the_command_names_template_and_licences(
    imagebind: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_llm(FAMILIES["qwen3"], tmp_path / "llm", licence="other\nlicense_name: home-made")
    (tmp_path / "sizes.json").write_text(json.dumps(IMAGEBIND.to_config()))
    words = ["convert", "--imagebind", imagebind, "--llm", tmp_path / "llm", "--out", tmp_path / "made"]
    assert cli.main([*map(str, words), "--imagebind-sizes", str(tmp_path / "sizes.json")]) == 0
    assert "template qwen3; licences: encoder CC BY-NC-SA 4.0, llm home-made" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["llama3", "qwen2.5", "qwen3"])
def test_a_folder_is_trained_and_the_result_answers(name: str, imagebind: Path, tmp_path: Path) -> None:
    """Two turns, so that an answer of the history stands in the prompt of the next."""
    folder, _ = converted(name, imagebind, tmp_path)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    said = [("human", "What is it?"), ("gpt", "red"), ("human", "Sure?"), ("gpt", "yes")]
    talk = {"image_name": "red.png", "conversation": [{"from": who, "value": text} for who, text in said]}
    (tmp_path / "talks.json").write_text(json.dumps([talk]))
    settings = msgspec.convert(
        {
            "model": str(folder),
            "out": str(tmp_path / "run"),
            "data": {"files": [str(tmp_path / "talks.json")], "media": str(tmp_path)},
            "features": {"cache": str(tmp_path / "features")},
            "lora": {"r": 8, "dropout": 0.0},
            "train": {"max_steps": 40, "batch": 1, "micro_batch": 1, "lr": 0.02, "device": "cpu"},
        },
        TuneSettings,
    )
    result = train(settings)
    runtime = load_model(result.written["model"], RuntimeOptions(dtype="float32", runner="torch", max_sequences=1))
    picture = runtime.encode(Modality.IMAGE, [picture_array(runtime, tmp_path / "red.png")])
    asked = Conversation((Turn("user", "What is it?"),), (MediaUse(Modality.IMAGE, "a", 0),))
    later = Conversation((*asked.turns, Turn("assistant", "red"), Turn("user", "Sure?")), asked.media)
    if name != "qwen3":  # its first answers are learned without the closed thoughts before them
        assert answer(runtime, asked, picture) == "red"
    assert answer(runtime, later, picture) == "yes"


def picture_array(runtime: Runtime, path: Path) -> np.ndarray:
    return load(runtime.info.recipes[Modality.IMAGE], path.read_bytes(), {}, Limits())


def answer(runtime: Runtime, asked: Conversation, rows: Sequence[np.ndarray]) -> str:
    runtime.admit(SequenceRequest("a", asked, rows, SamplingParams(max_tokens=8, temperature=0.0)))
    text = ""
    while runtime.has_work:
        text += "".join(output.text for output in runtime.step())
    return text


def test_a_qwen3_folder_is_served_over_http(imagebind: Path, tmp_path: Path) -> None:
    folder, _ = converted("qwen3", imagebind, tmp_path)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    with served(folder, tmp_path) as house:
        form = {"prompt": "What is it?", "max_tokens": "8", "temperature": "0"}
        files = {"image": (tmp_path / "red.png").read_bytes()}
        reply = httpx.post(f"{house.url}/v1/generate", data=form, files=files, timeout=60)
    assert reply.status_code == 200, reply.text
    assert reply.json()["usage"]["completion_tokens"] >= 1
