"""A tiny random LLaMA, a byte tokenizer and a runner that says what a script tells it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from pandagpt_core.engine.config import EngineConfig
from pandagpt_core.engine.engine import Engine
from pandagpt_core.engine.runners.torch_runner import TorchRunner
from pandagpt_core.engine.sequence import ScheduledChunk
from pandagpt_core.engine.sequence import Sequence as Running
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.bpe import REMAPPED
from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer, PieceTable
from pandagpt_core.llm.torch_backend import serve
from pandagpt_core.types import SamplingParams, TokenOutput

EOS = 256
PIECES = [*(bytes([n]) for n in range(256)), b"", b"##", b"ab", b"\xf0\x9f"]
CONFIG = LlamaConfig(vocab=len(PIECES), width=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, max_positions=96)


class ByteTokenizer:
    """Ids are bytes; 256 ends, 257 on are longer pieces."""

    bos_id: int | None = None
    eos_ids = frozenset({EOS})
    table = PieceTable(PIECES, strips_space=False)

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return self.table.decode(ids)

    def detokenizer(self) -> Detokenizer:
        return Detokenizer(self.table)

    def token_id(self, piece: str) -> int | None:
        return PIECES.index(piece.encode()) if piece.encode() in PIECES else None

    def token_bytes(self, token_id: int, first: bool = False) -> bytes:
        return PIECES[token_id]

    @property
    def size(self) -> int:
        return len(PIECES)


def write_tokenizer(folder: Path) -> Path:
    """`ByteTokenizer` as a tokenizer.json without merges, so that text is encoded byte by byte."""
    letters = {byte: letter for letter, byte in REMAPPED.items()}
    vocab = {"".join(letters[byte] for byte in piece): at for at, piece in enumerate(PIECES) if piece}
    backend = Backend(models.BPE(vocab={**vocab, "<end>": EOS}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.add_special_tokens([AddedToken("<end>", special=True)])
    backend.save(str(folder / "tokenizer.json"))
    return folder


class ScriptedRunner:
    """Makes each sequence say its script, token by token; raises or answers NaN for the ids it is told to."""

    slots = 8
    speculates = True
    change = 0

    def __init__(self, scripts: dict[str, Sequence[int]]) -> None:
        self.scripts = scripts
        self.raises: set[str] = set()
        self.poisons: set[str] = set()
        self.released: list[str] = []
        self.drafts: list[tuple[str, tuple[int, ...]]] = []

    def run(self, chunks: Sequence[ScheduledChunk]) -> Tensor:
        if any(chunk.sequence.id in self.raises for chunk in chunks):
            raise RuntimeError("a kernel failed")
        self.drafts += [(chunk.sequence.id, chunk.draft) for chunk in chunks if chunk.draft]
        return torch.stack([self._logits(c.sequence, ahead) for c in chunks for ahead in range(c.asked)])

    def _logits(self, sequence: Running, ahead: int) -> Tensor:
        """After `ahead` tokens of a draft, as if they were the script's."""
        logits = torch.zeros(CONFIG.vocab)
        logits[self.scripts[sequence.id][len(sequence.tokens) + ahead]] = 50.0
        return logits * float("nan") if sequence.id in self.poisons else logits

    def computed(self, rows: int) -> int:
        return rows

    def release(self, sequence: Running) -> None:
        self.released.append(sequence.id)

    def store_blocks(self, sequence: Running, first: int, places: Sequence[int]) -> None:
        """Keeps nothing: the scripts depend on nothing."""

    def load_blocks(self, sequence: Running, places: Sequence[int]) -> None:
        """As above."""


class CountingRunner(TorchRunner):
    """Counts the positions it computes, and can fail like a kernel that overflows."""

    positions = 0

    def run(self, chunks: Sequence[ScheduledChunk]) -> Tensor:
        self.positions += sum(chunk.count for chunk in chunks)
        return super().run(chunks)


@pytest.fixture(scope="session")
def llama() -> Llama:
    torch.manual_seed(0)
    llama = Llama(CONFIG)
    for parameter in llama.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() == 1 else 0.0, std=0.25)
    return serve(llama)


@pytest.fixture(scope="session")
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def make_engine(llama: Llama, tokenizer: ByteTokenizer) -> Callable[..., Engine]:
    """Sizes by keyword; `runner` replaces the real one."""

    def make(runner: Any = None, **sizes: Any) -> Engine:
        return Engine(llama, tokenizer, EngineConfig(**sizes), runner)

    return make


@pytest.fixture
def counting(make_engine: Callable[..., Engine], llama: Llama) -> Callable[..., tuple[Engine, CountingRunner]]:
    def make(**sizes: Any) -> tuple[Engine, CountingRunner]:
        runner = CountingRunner(llama, make_engine(**sizes).sizes)
        return make_engine(runner, **sizes), runner

    return make


@pytest.fixture
def scripted(make_engine: Callable[..., Engine]) -> Callable[..., tuple[Engine, ScriptedRunner]]:
    def make(scripts: dict[str, Sequence[int] | str], **sizes: Any) -> tuple[Engine, ScriptedRunner]:
        ids = {name: list(s.encode()) if isinstance(s, str) else s for name, s in scripts.items()}
        runner = ScriptedRunner(ids)
        return make_engine(runner, **sizes), runner

    return make


@pytest.fixture
def prompt(llama: Llama) -> Callable[[str | Iterable[int]], LLMInputs]:
    def make(text: str | Iterable[int], layer_bias: Tensor | None = None) -> LLMInputs:
        ids = tuple(text.encode() if isinstance(text, str) else text)
        return LLMInputs(llama.embed(ids), ids, layer_bias)

    return make


Outputs = dict[str, list[TokenOutput]]


@pytest.fixture
def drain() -> Callable[[Engine], Outputs]:
    """Step until there is no work; the outputs of each sequence in order."""

    def run(engine: Engine) -> Outputs:
        outputs: Outputs = {}
        for _ in range(2000):
            if not engine.has_work:
                return outputs
            for output in engine.step():
                outputs.setdefault(output.sequence_id, []).append(output)
        raise AssertionError("the engine never came to rest")

    return run


@pytest.fixture
def greedy() -> Callable[..., SamplingParams]:
    def make(max_tokens: int = 12, **params: Any) -> SamplingParams:
        return SamplingParams(max_tokens=max_tokens, temperature=0.0, **params)

    return make
