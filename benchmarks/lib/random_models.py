"""Models of given sizes with random weights, made on their device: speed does not depend on what the weights say."""

from collections.abc import Iterable, Sequence

import torch

from pandagpt_core.encoders.imagebind import ImageBind
from pandagpt_core.encoders.sizes import ImageBindSizes
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.quant.linear import DTYPES, Precision
from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer, PieceTable
from pandagpt_core.llm.torch_backend import TorchLlama, serve


def random_llama(config: LlamaConfig, precision: Precision, device: str) -> TorchLlama:
    """Served; on its way there never held in more than the precision's own bytes or two a weight."""
    with torch.device("meta"):
        llama = Llama(config)
    llama = llama.to(DTYPES.get(precision, torch.bfloat16)).to_empty(device=device)
    if config.tied:
        llama.tie()
    _fill(llama)
    return serve(llama, precision, device)


def random_imagebind(sizes: ImageBindSizes, towers: Iterable[str], dtype: torch.dtype, device: str) -> ImageBind:
    """The towers alone, with PandaGPT's scaling, which scales neither pictures nor sound."""
    model = ImageBind(sizes, variant="pandagpt", towers=towers, device=device)
    _fill(model)
    return model.to(dtype)


class BlankTokenizer:
    """Every id is one letter and none ends a text."""

    bos_id: int | None = None
    eos_ids: frozenset[int] = frozenset()

    def __init__(self, vocab: int) -> None:
        self._table = PieceTable([b"x"] * vocab, strips_space=False)

    def encode(self, text: str) -> list[int]:
        return [0] * len(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._table.decode(ids)

    def detokenizer(self) -> Detokenizer:
        return Detokenizer(self._table)

    def token_id(self, piece: str) -> int | None:  # noqa: ARG002 - the protocol's
        return None

    def token_bytes(self, token_id: int, first: bool = False) -> bytes:
        return self._table.bytes_of(token_id, first)

    @property
    def size(self) -> int:
        return len(self._table.pieces)


@torch.no_grad()
def _fill(module: torch.nn.Module) -> None:
    """Matrices small and random, vectors of norms and biases near one and zero; the same each time."""
    torch.manual_seed(0)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.dim() > 1:
            tensor.normal_(std=0.02)
        else:
            tensor.fill_(1.0 if name.endswith("weight") else 0.0)
