"""PandaGPT (Su et al. 2023): the media of a conversation, projected and summed, are one vector in its prompt."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pandagpt_core.checkpoints import ModelFolder, llm_path, verify_files
from pandagpt_core.encoders.base import Encoder, encode_items
from pandagpt_core.errors import CheckpointError, ContextLengthExceeded, InvalidRequest, UnsupportedModality
from pandagpt_core.fusion import Projection, compose, counted
from pandagpt_core.llm.autotune import served
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer, load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.prompts import TEMPLATES, Template, control_id, token_ids
from pandagpt_core.systems.adapter import load_adapter
from pandagpt_core.systems.base import LoadOptions
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.systems.merged import load_table
from pandagpt_core.types import Conversation, Modality, ModelInfo, SamplingParams, Turn

CHARACTERS_A_TOKEN = 32  # prose has 4 or 5; only long runs of spaces have more than this


@dataclasses.dataclass(frozen=True, kw_only=True)
class PandaGPT:
    """Also the small default, which is the same system with other towers, another template and another LLaMA.

    `bos_id` is the token a prompt begins with where the template has one; None leaves it to the tokenizer's files.
    """

    info: ModelInfo
    encoder: Encoder
    projection: Projection
    llm: Llama
    tokenizer: Tokenizer
    template: Template
    bos_id: int | None = None
    original_stop: bool = False

    def __post_init__(self) -> None:
        """A tokenizer that the template cannot be written with is found here, not at the first request."""
        token_ids(self.template, self.tokenizer, Conversation((Turn("user", "x###\n\nx"),)), self.bos_id)
        for piece in (*self.template.stop_pieces, *self.template.original_stop_pieces):
            control_id(self.tokenizer, piece)

    @classmethod
    def load(cls, path: Path, folder: ModelFolder, options: LoadOptions) -> "PandaGPT":
        """Raises CheckpointError, DigestMismatch, KeyMismatch."""
        if options.verify:
            verify_files(path, folder)
        encoder = load_encoder(path, folder, options.device, exact=options.precision == "fp32")
        llm_files = llm_path(path, folder.llm)
        llm = load_llama(llm_files) if options.table is None else load_table(options.table, options.device)
        if folder.max_model_len > llm.config.max_positions:
            raise CheckpointError(
                f"max_model_len is {folder.max_model_len}, the language model has {llm.config.max_positions} positions"
            )
        projection = load_adapter(path, folder, llm, encoder.dim, options.device)
        return cls(
            info=describe(folder),
            encoder=encoder,
            projection=projection,
            llm=served(llm, options.precision, options.device, options.runner) if options.table is None else llm,
            tokenizer=load_tokenizer(llm_files),
            template=TEMPLATES[folder.template],
            bos_id=None if folder.bos is None else folder.bos.id,
            original_stop=options.original_stop,
        )

    @torch.inference_mode()
    def encode(self, modality: Modality, arrays: Sequence[np.ndarray]) -> torch.Tensor:
        """Recipe arrays in, [B, E] float32 embeddings out. Raises UnsupportedModality."""
        self._check_modality(modality)
        return encode_items(self.encoder, modality, arrays, str(self.llm.device)).float()

    def unit(self, modality: Modality, embedding: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the protocol's
        """Scaled towers and means over clips have other norms than 1; the direction is what can be compared."""
        return torch.nn.functional.normalize(embedding.float(), dim=-1)

    @torch.inference_mode()
    def prepare(self, conversation: Conversation, embeddings: Sequence[torch.Tensor]) -> LLMInputs:
        """Write the prompt; where there are media, one row of it is their composed vector.

        Raises ContextLengthExceeded, UnsupportedModality, and InvalidRequest for embeddings that are not one [E] of
        finite numbers for each medium or whose composition overflows.
        """
        self._check_length(conversation)
        ids = token_ids(self.template, self.tokenizer, conversation, self.bos_id)
        embeds = self.llm.embed([0 if token is None else token for token in ids])  # [T, D]
        if not conversation.media:
            return LLMInputs(embeds, tuple(token for token in ids if token is not None))
        at = ids.index(None)
        soft = self._soft(conversation, embeddings)
        embeds[at] = soft
        return LLMInputs(embeds, tuple(pseudo_id(soft) if token is None else token for token in ids))

    def stops(self, params: SamplingParams) -> SamplingParams:
        """A template's own end of turn is an end of sequence, so `ignore_eos` leaves it out like any other."""
        if params.ignore_eos:
            return params
        template = self.template
        stop = () if self.original_stop else template.stop
        pieces = template.original_stop_pieces if self.original_stop else template.stop_pieces
        ids = [control_id(self.tokenizer, piece) for piece in pieces]
        return dataclasses.replace(
            params,
            stop=tuple(dict.fromkeys([*params.stop, *stop])),
            stop_token_ids=tuple(dict.fromkeys([*params.stop_token_ids, *ids])),
        )

    def _soft(self, conversation: Conversation, embeddings: Sequence[torch.Tensor]) -> torch.Tensor:
        """[D] float32, on the language model's device."""
        if len(embeddings) != len(conversation.media):
            raise InvalidRequest(f"{len(embeddings)} embeddings were given for {len(conversation.media)} media")
        for use, embedding in zip(conversation.media, embeddings, strict=True):
            self._check_modality(use.modality)
            self._check_embedding(embedding)
        uses = counted(conversation.media)
        chosen = torch.stack([embeddings[index] for index in uses])
        soft = compose(self.projection, chosen, [conversation.media[index].weight for index in uses])
        if not torch.isfinite(soft).all():
            raise InvalidRequest("the media's weights give numbers that are not finite", param="weight")
        return soft

    def _check_length(self, conversation: Conversation) -> None:
        """Text that cannot fit is refused before it is tokenised, which would hold up every other sequence."""
        characters, tokens = sum(len(turn.text) for turn in conversation.turns), self.info.max_model_len
        if len(conversation.turns) > tokens:
            turns = len(conversation.turns)
            raise ContextLengthExceeded(f"the conversation has {turns} turns, the context holds {tokens} tokens")
        if characters > tokens * CHARACTERS_A_TOKEN:
            raise ContextLengthExceeded(f"the prompt has {characters} characters, the context holds {tokens} tokens")

    def _check_modality(self, modality: Modality) -> None:
        if modality not in self.info.recipes:
            takes = ", ".join(self.info.recipes) or "none"
            raise UnsupportedModality(f"{self.info.id} takes no {modality}; it takes {takes}", param=modality)

    def _check_embedding(self, embedding: torch.Tensor) -> None:
        width = self.info.embedding_dim
        if tuple(embedding.shape) != (width,):
            raise InvalidRequest(f"an embedding has shape {tuple(embedding.shape)}, the model's are ({width},)")
        if not torch.isfinite(embedding).all():
            raise InvalidRequest("an embedding holds numbers that are not finite")


def describe(folder: ModelFolder) -> ModelInfo:
    """What a model folder's config says to a gateway."""
    return ModelInfo(
        id=folder.id,
        system=folder.system,
        recipes=dict(folder.recipes),
        max_model_len=folder.max_model_len,
        embedding_dim=folder.projection.in_dim,
        encoder_digest=folder.encoder_digest,
        version=folder.version,
        created=folder.created,
        sampling_defaults=dict(folder.sampling_defaults),
    )


def pseudo_id(row: torch.Tensor) -> int:
    """A negative 63-bit id that only an equal row has: what a prefix cache knows a soft token by."""
    digest = hashlib.sha256(row.float().cpu().numpy().tobytes()).digest()
    return -1 - (int.from_bytes(digest[:8], "big") >> 1)
