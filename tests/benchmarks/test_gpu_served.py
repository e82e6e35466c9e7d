"""The folder that the benchmark of the whole service on a GPU writes is one that a worker loads and answers by."""

from pathlib import Path

from benchmarks.contestants.service_folder import SIZES
from benchmarks.gpu.served import letters, write_folder
from pandagpt_core.interface import SequenceRequest
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.loading import RuntimeOptions, load_model
from pandagpt_core.types import Conversation, SamplingParams, Turn

TINY = LlamaConfig(vocab=300, width=32, layers=1, heads=4, kv_heads=4, head_dim=8, ffn=48, max_positions=256)


def test_its_folder_is_loaded_and_answers_to_the_length_asked_for(tmp_path: Path) -> None:
    write_folder(tmp_path / "random", TINY, SIZES, "cpu")
    runtime = load_model(tmp_path / "random", RuntimeOptions(dtype="float32"))
    params = SamplingParams(max_tokens=5, temperature=0.0, ignore_eos=True)
    runtime.admit(SequenceRequest("a", Conversation((Turn("user", "What is this?"),)), [], params))
    outputs = [output for _ in range(8) for output in runtime.step()]
    assert len(outputs) == 5
    assert outputs[-1].finish_reason == "length"


def test_a_letter_of_its_texts_is_a_token() -> None:
    backend = letters(300)
    assert backend.get_vocab_size() == 300
    assert len(backend.encode("What is this?").ids) == len("What is this?")
