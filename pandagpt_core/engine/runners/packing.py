"""The inputs of one packed step: embeddings and layer biases of its spans, for every runner."""

from collections.abc import Sequence as Items

import torch
from torch import Tensor

from pandagpt_core.engine.sequence import Span
from pandagpt_core.llm.llama import LayerBias, Llama


def span_biases(llm: Llama, spans: Items[Span]) -> LayerBias | None:
    """Each span's bias for the layers, zeros where it has none; None where no span has one."""
    biases = [span.sequence.inputs.layer_bias for span in spans]
    if all(bias is None for bias in biases):
        return None
    none = torch.zeros(llm.config.layers, llm.config.width)
    rows = torch.stack([none if bias is None else bias.float().cpu() for bias in biases]).to(llm.device)
    index = [row for row, span in enumerate(spans) for _ in range(span.count)]
    return LayerBias(rows, torch.tensor(index, device=llm.device))


def embed_spans(llm: Llama, spans: Items[Span]) -> Tensor:
    """[N, D]: prompt rows as given, rows of generated tokens from the table."""
    rows = torch.empty(sum(s.count for s in spans), llm.config.width, device=llm.device)
    ids: list[int] = []
    places: list[int] = []
    row = 0
    for span in spans:
        given = min(max(span.sequence.prompt_length - span.start, 0), span.count)
        if given:
            rows[row : row + given] = span.sequence.inputs.embeds[span.start : span.start + given]
        ids += _generated(span)
        places += range(row + given, row + span.count)
        row += span.count
    if len(ids) == len(rows):
        return llm.embed(ids)
    if ids:
        rows[places] = llm.embed(ids)
    return rows


def _generated(span: Span) -> list[int]:
    prompt = span.sequence.prompt_length
    return span.sequence.tokens[max(span.start - prompt, 0) : max(span.end - prompt, 0)]
