"""The inputs of one packed step: embeddings and layer biases of its chunks, for every runner."""

from collections.abc import Sequence as Items

import torch
from torch import Tensor

from pandagpt_core.engine.sequence import ScheduledChunk
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.llama import LayerBias


def chunk_biases(llm: LanguageModel, chunks: Items[ScheduledChunk]) -> LayerBias | None:
    """Each chunk's bias for the layers, zeros where it has none; None where no chunk has one."""
    biases = [chunk.sequence.inputs.layer_bias for chunk in chunks]
    if all(bias is None for bias in biases):
        return None
    none = torch.zeros(llm.config.layers, llm.config.width)
    rows = torch.stack([none if bias is None else bias.float().cpu() for bias in biases]).to(llm.device)
    index = [row for row, chunk in enumerate(chunks) for _ in range(chunk.rows)]
    return LayerBias(rows, torch.tensor(index, device=llm.device))


def embed_chunks(llm: LanguageModel, chunks: Items[ScheduledChunk]) -> Tensor:
    """[N, D]: prompt rows as given, rows of generated and drafted tokens from the table."""
    rows = torch.empty(sum(s.rows for s in chunks), llm.config.width, device=llm.device)
    ids: list[int] = []
    places: list[int] = []
    row = 0
    for chunk in chunks:
        given = min(max(chunk.sequence.prompt_length - chunk.start, 0), chunk.count)
        if given:
            rows[row : row + given] = chunk.sequence.inputs.embeds[chunk.start : chunk.start + given]
        ids += (*_generated(chunk), *chunk.draft)
        places += range(row + given, row + chunk.rows)
        row += chunk.rows
    if len(ids) == len(rows):
        return llm.embed(ids)
    if ids:
        rows[places] = llm.embed(ids)
    return rows


def _generated(chunk: ScheduledChunk) -> list[int]:
    prompt = chunk.sequence.prompt_length
    return chunk.sequence.tokens[max(chunk.start - prompt, 0) : max(chunk.end - prompt, 0)]
