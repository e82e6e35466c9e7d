"""ImageBind-LLM (Han et al. 2023): the media's mixed feature, perhaps drawn towards pictures, is in every layer."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pandagpt_core.checkpoints import ImageBindLLMFolder, ModelFolder, as_system, llm_path, verify_files
from pandagpt_core.errors import CheckpointError, InvalidRequest
from pandagpt_core.fusion import counted
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.quant.linear import DTYPES
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.options import option
from pandagpt_core.prompts import TEMPLATES, Slot, Span, Template, prompt_ids
from pandagpt_core.systems.base import LoadOptions, ready_llm
from pandagpt_core.systems.checks import blamed, check_context, check_conversation, describe
from pandagpt_core.systems.encoder import load_encoder
from pandagpt_core.systems.imagebind_llm.adapter import Bridge, load_bridge
from pandagpt_core.systems.imagebind_llm.mix import mixed
from pandagpt_core.systems.one_vector import OneVectorSystem
from pandagpt_core.systems.prompting import Prompting
from pandagpt_core.systems.tower_digests import tower_digests
from pandagpt_core.systems.visual_cache import details, load_cache, looked_up
from pandagpt_core.types import NOTHING_FOUND, Conversation, Found, OptionSpec

# Alpaca's second opening, for an instruction with an input beside it.
PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n"
)
INPUT = OptionSpec("input", "string", "context beside the instruction, Alpaca's input; of the last turn", default="")


@dataclass(frozen=True, kw_only=True)
class ImageBindLLM(OneVectorSystem):
    bridge: Bridge

    @classmethod
    def load(cls, path: Path, folder: ModelFolder, options: LoadOptions) -> "ImageBindLLM":
        """Raises CheckpointError, DigestMismatch, KeyMismatch."""
        folder = as_system(folder, ImageBindLLMFolder)
        if options.table is not None:
            raise CheckpointError("another engine cannot add to the layers' attention outputs, as ImageBind-LLM does")
        if options.verify:
            verify_files(path, folder)
        encoder = load_encoder(path, folder, options.device, options.towers)
        llm_files = llm_path(path, folder.llm)
        stored = load_llama(llm_files)
        check_context(folder, stored.config)
        bridge = load_bridge(path, folder, stored, encoder.dim)
        llm = ready_llm(stored, options)
        bridge.network.to(options.device)
        bridge.maps.to(options.device).cast_maps(DTYPES.get(llm.precision, torch.bfloat16))
        cache = load_cache(path, folder, encoder.dim, options.device)
        return cls(
            info=describe(
                folder,
                TEMPLATES[folder.template],
                folder.bind.features,
                (INPUT, *(() if cache is None else cache.options)),
                tower_digests(path, folder, encoder),
            ),
            encoder=encoder,
            bridge=bridge,
            cache=cache,
            llm=llm,
            prompting=Prompting.of(folder, llm_files, options.original_stop),
        )

    def look_up(self, conversation: Conversation, rows: Sequence[Tensor]) -> Iterator[Found | None]:
        """Of the cache, the rows nearest to the media's mixture."""
        check_conversation(self.info, conversation)
        mixture = self._mixture(conversation, self.vectors(conversation, rows))
        return looked_up(self.cache, conversation, () if mixture is None else (mixture,))

    @torch.inference_mode()
    def prepare(self, conversation: Conversation, rows: Sequence[Tensor], found: Found = NOTHING_FOUND) -> LLMInputs:
        """Write the prompt, which is text alone; the media become the layers' bias. Without media there is none.

        Raises ContextLengthExceeded, UnsupportedModality, and InvalidRequest for embeddings that are not one [1, E] of
        finite numbers for each medium or whose mixture overflows.
        """
        check_conversation(self.info, conversation)
        rows = self.vectors(conversation, rows)
        ids = _prompt_of(self.prompting, conversation, option(self.info.options, conversation.options, INPUT.name))
        feature, fields = self.feature(conversation, rows, found)
        return LLMInputs(self.llm.embed(ids), tuple(ids), self._layer_bias(feature), fields=fields)

    def feature(
        self, conversation: Conversation, rows: Sequence[Tensor], found: Found = NOTHING_FOUND
    ) -> tuple[Tensor | None, Mapping[str, Any] | None]:
        """Input of the bind network, [E] float32, and its part in the answer's fields; None without media."""
        feature = self._mixture(conversation, rows)
        if feature is None:
            return None, None
        if self.cache is None or not (options := self.cache.chosen(conversation)).size:
            return feature, None
        retrieved = self.cache.vectors.retrieve(feature, options, found)
        return retrieved.feature, {"cache": details(retrieved)} if self.cache.wants_details(conversation) else None

    def _mixture(self, conversation: Conversation, rows: Sequence[Tensor]) -> Tensor | None:
        """[E] float32 on the language model's device; None without media that count."""
        uses = [index for index in counted(conversation.media) if conversation.media[index].weight]
        if not uses:
            return None
        chosen = torch.cat([rows[index] for index in uses]).to(self.llm.device)
        return mixed(chosen, [conversation.media[index].weight for index in uses])

    def _layer_bias(self, feature: Tensor | None) -> Tensor | None:
        """[L, D] float32 on the language model's device. Raises InvalidRequest for a mixture that overflowed."""
        if feature is None:
            return None
        bias = self.bridge(feature)
        if not torch.isfinite(bias).all():
            raise blamed(self.bridge(torch.ones_like(feature) / feature.numel() ** 0.5), "bind network")
        return bias


def _prompt_of(prompting: Prompting, conversation: Conversation, given: str) -> list[int]:
    """Token ids of the conversation; `given` is the last turn's input, empty for none."""
    template = prompting.template
    if given and conversation.turns[-1].role != "user":
        raise InvalidRequest("an input belongs to the last message, which must be the user's", param="input")
    if given and template is TEMPLATES["alpaca"]:
        template = _with_input(template, given)
    elif given:
        *before, last = conversation.turns
        joined = dataclasses.replace(last, text=f"{last.text}\n\n{given}")
        conversation = dataclasses.replace(conversation, turns=(*before, joined))
    ids = prompt_ids(template, prompting.tokenizer, conversation, prompting.bos_id)
    return [token for token in ids if isinstance(token, int)]


def _with_input(template: Template, given: str) -> Template:
    """Alpaca's second form. Another family's template has the input behind the instruction."""
    return dataclasses.replace(
        template,
        opening=(Slot.BOS, PAIRED),
        cue=("### Input:\n", Span(given, caller=True), template.separator, *template.cue),
    )
