"""MiniGPT-v2 as a system: a picture's rows, projected one by one, stand in the prompt where the picture was sent.

The published model's rows are EVA ViT's, 256 of them; a small model's are those of a grid encoder.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pandagpt_core.boxes import read_boxes
from pandagpt_core.checkpoints import MiniGPTv2Folder, ModelFolder, as_system, llm_path, verify_files
from pandagpt_core.encoders.base import RowEncoder
from pandagpt_core.encoders.eva_vit import EvaVit
from pandagpt_core.encoders.grid.encoder import GridEncoder
from pandagpt_core.errors import CheckpointError, InvalidRequest
from pandagpt_core.fusion import Projection
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.language_model import LanguageModel
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.prompts import TEMPLATES, MediaSlot
from pandagpt_core.systems.adapter import load_adapter
from pandagpt_core.systems.base import LoadOptions, ready_llm
from pandagpt_core.systems.checks import (
    check_context,
    check_conversation,
    check_embeddings,
    check_modality,
    check_slots,
    describe,
)
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.systems.merged import load_table
from pandagpt_core.systems.minigpt_v2.tasks import OPTIONS, with_task
from pandagpt_core.systems.prompting import Prompting, fill
from pandagpt_core.types import NOTHING_FOUND, Conversation, Fields, Found, Modality, ModelInfo, SamplingParams


@dataclass(frozen=True, kw_only=True)
class MiniGPTv2:
    """`row_dtype` is that of the rows in the store: float16 halves 2.9 MB a picture, float32 keeps them exact."""

    info: ModelInfo
    encoder: RowEncoder
    projection: Projection
    llm: LanguageModel
    prompting: Prompting
    row_dtype: torch.dtype
    typed_tasks: bool = True

    @classmethod
    def load(cls, path: Path, folder: ModelFolder, options: LoadOptions) -> "MiniGPTv2":
        """Raises CheckpointError, DigestMismatch, KeyMismatch."""
        folder = as_system(folder, MiniGPTv2Folder)
        if options.verify:
            verify_files(path, folder)
        encoder = load_encoder(path, folder, options.device, options.towers)
        if not isinstance(encoder, EvaVit | GridEncoder):
            raise CheckpointError(f"MiniGPT-v2 reads rows, and a {folder.encoder.kind} encoder gives none")
        llm_files = llm_path(path, folder.llm)
        llm = load_llama(llm_files) if options.table is None else load_table(options.table, options.device)
        check_context(folder, llm.config)
        projection = load_adapter(path, folder, llm, encoder.dim, options.device)
        return cls(
            info=describe(folder, TEMPLATES[folder.template], 0, OPTIONS),
            encoder=encoder,
            projection=projection,
            llm=ready_llm(llm, options),
            prompting=Prompting(tokenizer=load_tokenizer(llm_files), template=TEMPLATES[folder.template]),
            row_dtype=torch.float32 if options.towers.exact else torch.float16,
            typed_tasks=folder.typed_tasks,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        return self.prompting.tokenizer

    @torch.inference_mode()
    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> Tensor:
        """[1, 3, S, S] pictures in, [B, rows, E] out. Raises UnsupportedModality."""
        check_modality(self.info, modality)
        pictures = torch.from_numpy(np.concatenate(arrays)).to(self.llm.device)
        return self.encoder.encode(modality, pictures).to(self.row_dtype)

    def unit(self, modality: Modality, rows: Tensor) -> Tensor:
        """Never called: `info.embedding_dim` is 0."""
        raise AssertionError(f"MiniGPT-v2 has no shared space for {modality} of shape {tuple(rows.shape)}")

    def look_up(self, conversation: Conversation, rows: Sequence[Tensor]) -> Iterator[Found | None]:  # noqa: ARG002 - the protocol's
        """There is no cache to look in."""
        yield NOTHING_FOUND

    @torch.inference_mode()
    def prepare(
        self,
        conversation: Conversation,
        rows: Sequence[Tensor],
        found: Found = NOTHING_FOUND,  # noqa: ARG002 - the protocol's
    ) -> LLMInputs:
        """Write the prompt; each picture has its rows, in its own turn.

        Of the prompt a repetition penalty counts its first token alone: the original hands its language model rows
        and no ids. Raises ContextLengthExceeded, UnsupportedModality, InvalidRequest.
        """
        check_conversation(self.info, conversation)
        check_embeddings(conversation, rows, (self.encoder.rows, self.encoder.dim))
        if any(use.weight != 1.0 for use in conversation.media):
            raise InvalidRequest("a picture of MiniGPT-v2 has no weight but 1: pictures are not summed", param="weight")
        prompt = self.prompting.ids(with_task(conversation, typed_tasks=self.typed_tasks))
        check_slots(prompt, len(conversation.media))
        inputs = fill(prompt, self.llm.embed, lambda slot: self._projected(rows, slot))
        return replace(inputs, penalised=inputs.ids[:1])

    def stops(self, params: SamplingParams) -> SamplingParams:
        return self.prompting.stops(params)

    def parse(self, text: str) -> Fields | None:
        """The boxes of an answer, of 0 to 1 of the picture's sides; None where it has nothing like one."""
        found = read_boxes(text)
        if not found.objects and not found.malformed:
            return None
        objects = [{"label": one.label, "box_norm": list(one.box)} for one in found.objects]
        return {"objects": objects, "malformed_boxes": list(found.malformed)}

    def _projected(self, rows: Sequence[Tensor], slot: MediaSlot) -> Tensor:
        """[rows, D] float32, on the language model's device."""
        (index,) = slot.media
        return self.projection(rows[index])
