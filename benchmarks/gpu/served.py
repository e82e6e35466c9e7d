"""The whole service over HTTP on a CUDA device: PandaGPT-7B's shapes with random weights, as `make serve` runs it.

    python -m benchmarks.gpu.served [--quick] [--widths 1,16,64] [--new 128] [--rounds 3] [--cache FOLDER]

Two tables: the phases of a first token (a text, a picture that was sent before, a picture that never was), and tokens
a second of texts at once. The model folder of 16 GB is written once into the cache folder. Without a device it prints
that and measures nothing.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from benchmarks import first_token
from benchmarks.contestants.field import service_server
from benchmarks.contestants.servers import ServerContestant
from benchmarks.gpu.device import NO_DEVICE, report_nothing
from benchmarks.lib import machine, report
from benchmarks.lib.options import BenchmarkOptions, chosen, options, parser
from benchmarks.lib.prompts import PASSAGE
from benchmarks.lib.random_models import random_imagebind
from benchmarks.lib.stats import summarise
from pandagpt_core.checkpoints import (
    BosSpec,
    EncoderSpec,
    LLMSpec,
    PandaGPTFolder,
    ProjectionSpec,
    folder_digests,
    write_model_folder,
)
from pandagpt_core.encoders.sizes import HUGE, RECIPES, ImageBindSizes
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.llm.llama import Llama
from pandagpt_core.types import Modality

LLAMA_7B = LlamaConfig(  # Touvron et al. 2023, table 2; Vicuna-7B's files
    vocab=32000, width=4096, layers=32, heads=32, kv_heads=32, head_dim=128, ffn=11008, max_positions=2048
)
NAME, TITLE = "gpu-served", "The service with PandaGPT-7B's shapes on a CUDA device"
FIRST_NAME, FIRST_TITLE = "gpu-first-token", "Phases of the time to the first token, PandaGPT-7B's shapes"
MODALITIES = (Modality.IMAGE, Modality.VIDEO)
END, BEGIN, TURN = "</s>", "<s>", "##"  # ids 0, 1 and 2; Vicuna's template needs the last
TEXT = 128  # characters of a message, each of which is a token
COLUMNS = (
    report.Column("width", "at once", 0),
    report.Column("tokens_per_s", "tokens/s"),
    report.Column("first_p50", "first token p50 ms", 0, 1000),
    report.Column("gap_p99", "between tokens p99 ms", 1, 1000),
)


def main() -> int:
    given = options(parser(__doc__).parse_args())
    if not torch.cuda.is_available():
        return report_nothing(NAME, TITLE, NO_DEVICE)
    facts = machine.facts()
    out = (given.out or report.folder(facts)) if given.save else None
    for made in measured(LLAMA_7B, HUGE, given, "cuda"):
        report.publish(made, facts, out)
    return 0


def measured(
    llm: LlamaConfig, sizes: ImageBindSizes, given: BenchmarkOptions, device: str
) -> list[report.BenchmarkReport]:
    folder = given.cache / "random-pandagpt"
    if not (folder / "config.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_folder(folder, llm, sizes, device)
    widths = chosen(given.widths, given.quick, (1, 4), (1, 16, 64))
    service = ServerContestant(
        service_server("ours", folder, {"PANDAGPT_WORKER_MAX_SEQUENCES": str(max(widths))}, device)
    )
    service.start()
    rounds = given.rounds or (1 if given.quick else 3)
    try:
        rows = [throughput(service, width, given.new or (16 if given.quick else 128), rounds) for width in widths]
        kinds = first_token.kinds().items()
        firsts = [first_token.row(name, service, upload, 3 * rounds) for name, upload in kinds]
    finally:
        service.stop()
    notes = [f"Random weights; {TEXT} characters a message, a token each; medians of {rounds} rounds."]
    return [
        report.BenchmarkReport(NAME, TITLE, COLUMNS, rows, notes),
        report.BenchmarkReport(FIRST_NAME, FIRST_TITLE, first_token.COLUMNS, firsts, notes),
    ]


def throughput(service: ServerContestant, width: int, new: int, rounds: int) -> report.Row:
    """Texts that differ from their first letter on, after a round that does not count."""
    texts = [[f"{turn}.{n} {PASSAGE}"[:TEXT] for n in range(width)] for turn in range(rounds + 1)]
    summary = summarise([service.chat(each, new) for each in texts][1:])
    rate, first, gap = summary.tokens_per_s, summary.first_p50, summary.gap_p99
    return {"width": width, "tokens_per_s": rate, "first_p50": first, "gap_p99": gap}


def write_folder(folder: Path, llm: LlamaConfig, sizes: ImageBindSizes, device: str) -> None:
    """A model folder of these sizes; pictures and films alone have a tower."""
    (folder / "llm").mkdir(parents=True)
    config = {**llm.to_hf("bfloat16"), "bos_token_id": 1, "eos_token_id": 0}
    (folder / "llm" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(random_weights(llm, device), folder / "llm" / "model.safetensors", metadata={"format": "pt"})
    letters(llm.vocab).save(str(folder / "llm" / "tokenizer.json"))
    tower = random_imagebind(sizes, ["vision"], torch.float32, device)
    save_file({name: tensor.cpu() for name, tensor in tower.state_dict().items()}, folder / "encoder.safetensors")
    projection = {"projection.weight": torch.randn(llm.width, sizes.out), "projection.bias": torch.zeros(llm.width)}
    save_file(projection, folder / "adapter.safetensors")
    made = PandaGPTFolder(
        id=folder.name,
        template="vicuna-v0",
        encoder=EncoderSpec(kind="imagebind", sizes=sizes.to_config()),
        projection=ProjectionSpec(in_dim=sizes.out, out_dim=llm.width),
        llm=LLMSpec(folder="llm"),
        recipes={modality: RECIPES[modality] for modality in MODALITIES},
        files=folder_digests(folder),
        max_model_len=llm.max_positions,
        bos=BosSpec(id=1, piece=BEGIN, source="tokenizer.json"),
    )
    write_model_folder(folder, made)


@torch.no_grad()
def random_weights(config: LlamaConfig, device: str) -> dict[str, torch.Tensor]:
    """Matrices small and random, norms of ones, bfloat16. In the head, the end of a text has an empty row."""
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Llama(config).state_dict().items()}
    weights = {
        name: torch.ones(shape, dtype=torch.bfloat16)
        if len(shape) == 1
        else torch.randn(shape, device=device, dtype=torch.bfloat16).mul_(0.02).cpu()
        for name, shape in shapes.items()
    }
    weights["lm_head.weight"][0] = 0
    return weights


def letters(vocab: int) -> Backend:
    """A vocabulary of single bytes, filled up with pieces that no text has."""
    alphabet: Sequence[str] = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [END, BEGIN, TURN, *alphabet, *(f"x{n}" for n in range(vocab - len(alphabet) - 3))]
    backend = Backend(models.BPE(vocab={piece: at for at, piece in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(piece, special=True) for piece in (END, BEGIN)])
    return backend


if __name__ == "__main__":
    sys.exit(main())
