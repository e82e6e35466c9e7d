"""The template of each family of models that a folder can name."""

import re
from dataclasses import replace
from types import MappingProxyType

from pandagpt_core.prompts.template import Control, Slot, Template
from pandagpt_core.tools import HERMES

_IM_START, _IM_END = Control("<|im_start|>"), Control("<|im_end|>")
_HEADER, _HEADER_END, _EOT = Control("<|start_header_id|>"), Control("<|end_header_id|>"), Control("<|eot_id|>")

# SmolLM2-Instruct. The soft token stands where a picture would: before the question.
_CHATML = Template(
    opening=(),
    user=(_IM_START, "user\n", Slot.TEXT, _IM_END),
    media=(_IM_START, "user\n", Slot.SOFT, Slot.TEXT, _IM_END),
    assistant=(_IM_START, "assistant\n", Slot.TEXT, _IM_END),
    cue=(_IM_START, "assistant\n"),
    system=(_IM_START, "system\n", Slot.TEXT, _IM_END),
    default_system="You are a helpful AI assistant.",
    tools=HERMES,
    markers=re.compile(r"</?tools>|</?tool_(?:call|response)>"),
    stop_pieces=(_IM_END.piece, _IM_START.piece, "<|endoftext|>"),
    original_stop_pieces=(_IM_END.piece,),
)

TEMPLATES = MappingProxyType(
    {
        # PandaGPT (Su et al. 2023), trained from Vicuna v0. The original ends an answer at the token "##" anywhere,
        # so at any markdown heading; "\n###" is what the model learned to write at the end of a turn.
        "vicuna-v0": Template(
            opening=(Slot.BOS,),
            user=("### Human: ", Slot.TEXT),
            media=("### Human: <Img>", Slot.SOFT, "</Img> ", Slot.TEXT),
            assistant=("### Assistant: ", Slot.TEXT),
            cue=("### Assistant:",),
            markers=re.compile(r"#{3,}|</?Img>"),
            stop=("\n###", "\n\n###"),
            original_stop_pieces=("##",),
        ),
        # MiniGPT-v2 (Chen et al. 2023, section 3.1) over LLaMA-2-chat: two BOS ids, since its code puts the tokenizer's
        # before a text that begins with one. Earlier answers stay as `Chat.answer` keeps them, without an end.
        "minigpt-v2": Template(
            opening=(Slot.BOS,),
            user=(Control("<s>"), "[INST] ", Slot.MEDIA, Slot.TEXT, " [/INST]"),
            medium=("<Img>", Slot.SOFT, "</Img> "),
            assistant=(Slot.TEXT,),
            cue=(),
            separator="",
            markers=re.compile(r"\[/?INST\]|</?Img>|<ImageHere>"),
        ),
        # ImageBind-LLM (Han et al. 2023), trained on Alpaca's prompts; the original's demo has no second turn, which
        # is here a further instruction. Media stand in no place of the prompt. The original ends at EOS alone.
        "alpaca": Template(
            opening=(
                Slot.BOS,
                "Below is an instruction that describes a task. Write a response that appropriately completes the "
                "request.\n\n",
            ),
            user=("### Instruction:\n", Slot.TEXT),
            assistant=("### Response:", Slot.TEXT),
            cue=("### Response:",),
            separator="\n\n",
            markers=re.compile(r"#{3,}"),
            stop=("\n\n### Instruction:",),
        ),
        "chatml": _CHATML,
        # Qwen2.5-Instruct (Qwen Team 2024): ChatML with a system turn of its own.
        "qwen2.5": replace(
            _CHATML, default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        ),
        # Qwen3 (Yang et al. 2025), its way without thinking: the thoughts before an answer are opened and closed.
        "qwen3": replace(
            _CHATML,
            default_system=None,
            lead=(Control("<think>"), "\n\n", Control("</think>"), "\n\n"),
            markers=re.compile(r"</?think>|</?tools>|</?tool_(?:call|response)>"),
        ),
        # Llama 3 (Grattafiori et al. 2024). That of 3.1 and later writes dates into a system turn, which are left out.
        "llama3": Template(
            opening=(Slot.BOS,),
            user=(_HEADER, "user", _HEADER_END, "\n\n", Slot.TEXT, _EOT),
            media=(_HEADER, "user", _HEADER_END, "\n\n", Slot.SOFT, Slot.TEXT, _EOT),
            assistant=(_HEADER, "assistant", _HEADER_END, "\n\n", Slot.TEXT, _EOT),
            cue=(_HEADER, "assistant", _HEADER_END, "\n\n"),
            separator="",
            system=(_HEADER, "system", _HEADER_END, "\n\n", Slot.TEXT, _EOT),
            stop_pieces=(_EOT.piece, _HEADER.piece, "<|end_of_text|>"),
            original_stop_pieces=(_EOT.piece,),
        ),
        # MiniGPT-v2's way with pictures, a slot for each in its own turn, over SmolLM2-Instruct.
        "chatml-rows": Template(
            opening=(),
            user=(_IM_START, "user\n", Slot.MEDIA, Slot.TEXT, _IM_END),
            medium=(Slot.SOFT,),
            assistant=(_IM_START, "assistant\n", Slot.TEXT, _IM_END),
            cue=(_IM_START, "assistant\n"),
            system=(_IM_START, "system\n", Slot.TEXT, _IM_END),
            stop_pieces=(_IM_END.piece, _IM_START.piece, "<|endoftext|>"),
            original_stop_pieces=(_IM_END.piece,),
        ),
    }
)
