"""Shared by the systems: the checks of a request and a folder, and a folder's announcement."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from pandagpt_core.checkpoints import ModelFolder
from pandagpt_core.errors import (
    CheckpointError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelFault,
    PandaGPTError,
    UnsupportedModality,
)
from pandagpt_core.llm.config import LlamaConfig
from pandagpt_core.options import checked_options
from pandagpt_core.prompts import MediaSlot, Template
from pandagpt_core.tools import characters
from pandagpt_core.types import Conversation, Modality, ModelInfo, OptionSpec

CHARACTERS_A_TOKEN = 32  # prose has 4 or 5; only long runs of spaces have more than this


def check_conversation(info: ModelInfo, conversation: Conversation) -> None:
    """The text's length, the media's modalities and the options.

    Raises ContextLengthExceeded for text that cannot fit, before it is tokenised, which would block every other
    sequence; UnsupportedModality; InvalidRequest for an option that the model has not.
    """
    tokens = info.max_model_len
    if len(conversation.turns) > tokens:
        raise ContextLengthExceeded.of(tokens, f"the conversation has {len(conversation.turns)} turns")
    if (length := _characters(conversation)) > tokens * CHARACTERS_A_TOKEN:
        raise ContextLengthExceeded.of(tokens, f"the prompt has {length} characters")
    for use in conversation.media:
        check_modality(info, use.modality)
    checked_options(info.options, conversation.options)


def _characters(conversation: Conversation) -> int:
    turns = sum(len(turn.text) + characters(turn.tool_calls) for turn in conversation.turns)
    return turns + sum(map(len, conversation.tools))


def check_modality(info: ModelInfo, modality: Modality) -> None:
    if modality not in info.recipes:
        takes = ", ".join(info.recipes) or "none"
        raise UnsupportedModality(f"{info.id} takes no {modality}; it takes {takes}", param=modality)


def check_embeddings(conversation: Conversation, embeddings: Sequence[Tensor], shape: tuple[int, int] | None) -> None:
    """One finite [n, E] for each medium, of `shape` where it is one for all.

    Raises InvalidRequest, and ModelFault for values that are not finite.
    """
    if len(embeddings) != len(conversation.media):
        raise InvalidRequest(f"{len(embeddings)} embeddings were given for {len(conversation.media)} media")
    for embedding in embeddings:
        if shape is not None and tuple(embedding.shape) != shape:
            raise InvalidRequest(f"an embedding has shape {tuple(embedding.shape)}, the model's are {shape}")
        if not bool(torch.isfinite(embedding).all()):
            raise ModelFault("an embedding holds numbers that are not finite: the encoder's weights are at fault")


def blamed(usual: Tensor, part: str) -> PandaGPTError:
    """The error for numbers that are not finite: `usual` is what the part gives with weights of 1.

    Where that is finite the request's weights are too large; else the model's own weights are at fault.
    """
    if bool(torch.isfinite(usual).all()):
        return InvalidRequest("the media's weights give numbers that are not finite", param="weight")
    return ModelFault(f"the model's {part} gives numbers that are not finite: its weights are at fault")


def check_rows(
    conversation: Conversation, embeddings: Sequence[Tensor], width: int, rows: Mapping[Modality, int]
) -> None:
    """One finite [n, width] for each medium, n its modality's of `rows`, or 1. Raises InvalidRequest."""
    check_embeddings(conversation, [embedding.flatten()[None] for embedding in embeddings], None)
    for use, embedding in zip(conversation.media, embeddings, strict=True):
        if tuple(embedding.shape) not in ((1, width), (rows[use.modality], width)):
            wanted = (rows[use.modality], width)
            raise InvalidRequest(f"an embedding has shape {tuple(embedding.shape)}, the model's are {wanted}")


def check_slots(prompt: Sequence[int | MediaSlot], media: int) -> None:
    """Raises InvalidRequest for media without a slot in the prompt, which stand outside of a user's turn."""
    held = {index for element in prompt if isinstance(element, MediaSlot) for index in element.media}
    if len(held) != media:
        raise InvalidRequest("media must be in a user's turn", param="messages")


def check_context(folder: ModelFolder, config: LlamaConfig) -> None:
    """Raises CheckpointError for a context that the language model has no positions for."""
    if folder.max_model_len > config.max_positions:
        raise CheckpointError(
            f"max_model_len is {folder.max_model_len}, the language model has {config.max_positions} positions"
        )


def describe(
    folder: ModelFolder,
    template: Template,
    embedding_dim: int,
    options: Sequence[OptionSpec] = (),
    tower_digests: Mapping[Modality, str] = MappingProxyType({}),
) -> ModelInfo:
    """The announcement of a model folder. embedding_dim: of the shared space, 0 where /v1/embeddings has none."""
    return ModelInfo(
        id=folder.id,
        system=folder.system,
        recipes=dict(folder.recipes),
        max_model_len=folder.max_model_len,
        embedding_dim=embedding_dim,
        encoder_digest=folder.encoder_digest,
        version=folder.version,
        created=folder.created,
        sampling_defaults=dict(folder.sampling_defaults),
        options=tuple(options),
        tools=folder.tools or ("forced" if template.tools is None else "auto"),
        dimensions=tuple(size for size in folder.dimensions if size < embedding_dim),
        tower_digests=dict(tower_digests),
    )
