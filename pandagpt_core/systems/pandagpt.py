"""PandaGPT (Su et al. 2023): the media of a conversation, projected and summed, are one vector in its prompt.

With a resampler a medium has k rows in place of one, and the sum of several media is made row by row.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.checkpoints import ModelFolder, PandaGPTFolder, as_system, llm_path, verify_files
from pandagpt_core.encoders.base import PerceivingEncoder, TokenEncoder
from pandagpt_core.encoders.resampler import PerceiverResampler, resampled_items
from pandagpt_core.fusion import Projection, compose, counted
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.perception.rows import ROWS
from pandagpt_core.prompts import TEMPLATES
from pandagpt_core.systems.adapter import load_adapter
from pandagpt_core.systems.base import LoadOptions, ready_llm
from pandagpt_core.systems.checks import (
    blamed,
    check_context,
    check_conversation,
    check_modality,
    check_rows,
    describe,
)
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.systems.merged import load_table
from pandagpt_core.systems.one_vector import OneVectorSystem
from pandagpt_core.systems.perceiving import Perceiving, load_perceiving
from pandagpt_core.systems.prompting import Prompting, fill
from pandagpt_core.systems.resampling import load_resampler, with_resampler
from pandagpt_core.systems.tower_digests import tower_digests
from pandagpt_core.systems.visual_cache import directions, drawn, load_cache, looked_up
from pandagpt_core.types import NOTHING_FOUND, Conversation, Found, Modality


@dataclass(frozen=True, kw_only=True)
class PandaGPT(OneVectorSystem):
    """Also the small default, which is the same system with other towers, another template and another LLaMA."""

    projection: Projection
    perceiving: Perceiving | None = None
    resampler: PerceiverResampler | None = None

    @classmethod
    def load(cls, path: Path, folder: ModelFolder, options: LoadOptions) -> "PandaGPT":
        """Raises CheckpointError, DigestMismatch, KeyMismatch."""
        folder = as_system(folder, PandaGPTFolder)
        if options.verify:
            verify_files(path, folder)
        resampler = load_resampler(path, folder, options.device)  # first: a refusal takes no loading of the others
        encoder = load_encoder(path, folder, options.device, options.towers)
        llm_files = llm_path(path, folder.llm)
        llm = load_llama(llm_files) if options.table is None else load_table(options.table, options.device)
        check_context(folder, llm.config)
        projection = load_adapter(path, folder, llm, encoder.dim, options.device)
        cache = load_cache(path, folder, encoder.dim, options.device)
        return cls(
            info=describe(
                folder,
                TEMPLATES[folder.template],
                folder.projection.in_dim,
                () if cache is None else cache.options,
                with_resampler(folder, tower_digests(path, folder, encoder)),
            ),
            encoder=encoder,
            projection=projection,
            llm=ready_llm(llm, options),
            prompting=Prompting.of(folder, llm_files, options.original_stop),
            cache=cache,
            perceiving=load_perceiving(path, folder, projection),
            resampler=resampler,
        )

    @torch.inference_mode()
    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> Tensor:
        """Recipe arrays in, [B, n, E] float32 out. Raises UnsupportedModality.

        n is 1; above 1 where more is perceived; 1 + k with a resampler, the embedding first.
        """
        if self.resampler is not None:
            check_modality(self.info, modality)
            encoder = cast(TokenEncoder, self.encoder)
            return resampled_items(encoder, self.resampler, modality, arrays, str(self.llm.device))
        if self.perceiving is None:
            return super().encode(modality, arrays)
        check_modality(self.info, modality)
        return torch.stack(cast(PerceivingEncoder, self.encoder).rows(modality, arrays)).float()

    def vectors(self, conversation: Conversation, rows: Sequence[Tensor]) -> Sequence[Tensor]:
        """Each medium's embedding [1, E]. Raises InvalidRequest, ModelFault."""
        if self.resampler is None:
            return super().vectors(conversation, rows)
        count = 1 + self.resampler.count
        check_rows(conversation, rows, self.info.embedding_dim, dict.fromkeys(Modality, count))
        return [row[:1] for row in rows]

    def look_up(self, conversation: Conversation, rows: Sequence[Tensor]) -> Iterator[Found | None]:
        """Of the cache, the rows nearest to each medium."""
        check_conversation(self.info, conversation)
        return looked_up(self.cache, conversation, directions(self.vectors(conversation, rows)))

    @torch.inference_mode()
    def prepare(self, conversation: Conversation, rows: Sequence[Tensor], found: Found = NOTHING_FOUND) -> LLMInputs:
        """Write the prompt; where there are media, one row of it, or k with a resampler, is their composed vector.

        With perception each medium has a soft token and a line of words of its own. Raises ContextLengthExceeded,
        UnsupportedModality, and InvalidRequest for embeddings that are not one [n, E] of finite numbers for each medium
        or whose composition overflows.
        """
        check_conversation(self.info, conversation)
        if self.perceiving is not None:
            return self._perceived(self.perceiving, conversation, rows, found)
        vectors, fields = drawn(self.cache, conversation, self.vectors(conversation, rows), found)
        soft = vectors if self.resampler is None else [_resampled(row, self.resampler.count) for row in rows]
        inputs = fill(self.prompting.ids(conversation), self.llm.embed, lambda _: self._composed(conversation, soft))
        return dataclasses.replace(inputs, fields=fields)

    def _perceived(
        self, perceiving: Perceiving, conversation: Conversation, rows: Sequence[Tensor], found: Found
    ) -> LLMInputs:
        check_rows(conversation, rows, self.info.embedding_dim, ROWS)
        moved, retrieved = drawn(self.cache, conversation, [row[:1] for row in rows], found)
        rows = [torch.cat((vector, row[1:])) for vector, row in zip(moved, rows, strict=True)]
        uses = counted(conversation.media)
        readings = perceiving.readings(conversation, rows, uses)

        def slot(_: object) -> Tensor:
            if perceiving.spec.fusion == "sum":
                return self._composed(conversation, [row[:1] for row in rows])
            return perceiving.slot(conversation, rows, readings, self.projection, self.llm.embed, self.tokenizer)

        inputs = fill(self.prompting.ids(conversation), self.llm.embed, slot)
        fields = {**(perceiving.fields(conversation, readings) or {}), **(retrieved or {})}
        return dataclasses.replace(inputs, fields=fields or None)

    def _composed(self, conversation: Conversation, rows: Sequence[Tensor]) -> Tensor:
        """[k, D] float32 from [k, E] of each medium, on the language model's device; row by row as the paper's one."""
        uses = counted(conversation.media)
        weights = [conversation.media[index].weight for index in uses]
        chosen = torch.stack([rows[index] for index in uses], dim=1)  # [k, M, E]
        composed = torch.stack([compose(self.projection, media, weights) for media in chosen])
        if not torch.isfinite(composed).all():
            raise blamed(self.projection(chosen), "projection")
        return composed


def _resampled(rows: Tensor, count: int) -> Tensor:
    """[k, E] of a medium's rows. A vector that a caller sent alone stands in each, as an untrained resampler has it."""
    return rows[1:] if len(rows) > 1 else rows.expand(count, -1)
