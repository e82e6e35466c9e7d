"""The results of a run load where they should: our converter takes the original's names, peft its folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pandagpt_core.convert import PandaGPTOptions, PandaGPTOriginals, convert_pandagpt
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.lora import merge_lora
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.training.tune import outputs
from pandagpt_core.training.tune.outputs import adapter_of, cast_state, original_name, write_delta
from pandagpt_core.training.tune.run import train
from pandagpt_core.training.tune.settings import TuneSettings
from tests.training.conftest import SIZES

Make = Callable[..., TuneSettings]


@pytest.fixture
def run_folder(make_settings: Make) -> Path:
    settings = make_settings(train={"max_steps": 2}, output={"original": True, "peft": True})
    train(settings)
    return Path(settings.out)


def merged(llm: Llama, adapter: dict[str, torch.Tensor]) -> Llama:
    names = {key.removesuffix(".lora_A.weight") for key in adapter if key.endswith(".lora_A.weight")}
    merge_lora(llm, {n: (adapter[f"{n}.lora_A.weight"], adapter[f"{n}.lora_B.weight"]) for n in names}, 1.0)
    return llm


def test_the_originals_names_are_what_our_converter_reads(
    run_folder: Path, tiny_originals: PandaGPTOriginals, tmp_path: Path
) -> None:
    originals = PandaGPTOriginals(tiny_originals.imagebind, tiny_originals.llm, run_folder / outputs.DELTA)
    convert_pandagpt(originals, tmp_path / "converted", PandaGPTOptions(model_id="x", sizes=SIZES))
    ours, theirs = (
        load_file(folder / "adapter.safetensors") for folder in (run_folder / "model", tmp_path / "converted")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_originals_names_are_those_of_its_own_file(run_folder: Path, golden: Path) -> None:
    published = load_file(golden / "pandagpt-tiny" / "delta.safetensors")
    assert {k: t.shape for k, t in load_file(run_folder / outputs.DELTA).items()} == {
        k: t.shape for k, t in published.items()
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_peft_computes_what_we_serve(run_folder: Path, golden: Path) -> None:
    """The warnings are of transformers and peft about one another."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    vicuna = golden / "pandagpt-tiny" / "vicuna_tiny"
    base = transformers.LlamaForCausalLM.from_pretrained(vicuna)
    model = peft.PeftModel.from_pretrained(base, run_folder / outputs.PEFT)
    ids = torch.arange(3, 19)[None]
    with torch.inference_mode():
        theirs = model.eval()(input_ids=ids).logits
        llm = merged(load_llama(vicuna), load_file(run_folder / "model" / "adapter.safetensors"))
        ours = llm(llm.embed(ids))
        plain = load_llama(vicuna)
        untrained = plain(plain.embed(ids))
    torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=1e-4)
    assert not torch.allclose(ours, untrained, atol=1e-3)


def test_halves_are_written_as_such(tmp_path: Path) -> None:
    trained = {"projection.weight": torch.ones(2, 3), "llm.model.layers.0.self_attn.q_proj.a": torch.ones(1, 3)}
    state = cast_state(adapter_of(trained), "float16")
    assert state.keys() == {"projection.weight", "model.layers.0.self_attn.q_proj.lora_A.weight"}
    written = load_file(write_delta(tmp_path / "delta.safetensors", state))
    assert written.keys() == {original_name(name) for name in state}
    assert {tensor.dtype for tensor in written.values()} == {torch.float16}
