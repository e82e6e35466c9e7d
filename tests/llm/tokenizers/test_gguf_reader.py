"""Our reader of GGUF files finds what the package's own finds."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from pandagpt_core.llm.tokenizers.gguf_reader import PlainReader


@pytest.fixture
def file(tmp_path: Path) -> Path:
    writer = GGUFWriter(tmp_path / "all.gguf", "llama")
    writer.add_token_list(["a", "", "ä", "Ġhi", "\U0001f43c"])
    writer.add_token_types([1, 3, 4])
    writer.add_token_scores([0.5, -1.0])
    writer.add_array("flags", [True, False])
    writer.add_array("nested", [[1, 2], [3, 4]])
    writer.add_string("name", "panda")
    writer.add_uint64("large", 2**40)
    writer.add_tensor("one", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "all.gguf"


def test_fields_and_tensors_are_those_of_the_package(file: Path) -> None:
    theirs, ours = GGUFReader(file), PlainReader(file)
    assert {name: found.contents() for name, found in ours.fields.items()} == {
        name: found.contents() for name, found in theirs.fields.items()
    }
    assert [found.types for found in ours.fields.values()] == [found.types for found in theirs.fields.values()]
    assert [(t.name, t.tensor_type, t.data.tolist()) for t in ours.tensors] == [
        (t.name, t.tensor_type, t.data.tolist()) for t in theirs.tensors
    ]


def test_a_file_that_ends_within_a_vocabulary_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.index("Ġhi".encode()) - 4])
    with pytest.raises((ValueError, IndexError)):
        PlainReader(file)


def test_a_vocabulary_has_one_object_a_token(file: Path) -> None:
    """The package's has two, and one for each number."""
    found = PlainReader(file).fields
    assert len(found["tokenizer.ggml.tokens"].parts) == 3 + 5
    assert len(found["tokenizer.ggml.token_type"].parts) == 3 + 1
