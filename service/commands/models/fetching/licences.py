"""The terms that bind a person who runs the originals' weights. A summary and no legal advice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Licence:
    """The terms of a licence in one line. `page` has its text, or the form to apply for it."""

    name: str
    terms: str
    page: str


IMAGEBIND = Licence(
    "CC BY-NC-SA 4.0", "no commercial use; changed versions under the same licence", "https://github.com/facebookresearch/ImageBind"
)  # fmt: skip
LLAMA = Licence(
    "LLaMA's research terms", "no commercial use; Meta gives the weights on request", "https://github.com/facebookresearch/llama"
)  # fmt: skip
VICUNA = Licence(
    "LLaMA's research terms", "no commercial use; binds whoever applies the delta", "https://github.com/lm-sys/FastChat"
)
PANDAGPT = Licence("CC BY-NC 4.0", "research only, no commercial use", "https://github.com/yxuansu/PandaGPT")
LLAMA_2 = Licence(
    "Llama 2 Community License", "commercial use within its conditions; accepted on Meta's page before the download", "https://huggingface.co/meta-llama/Llama-2-7b-chat-hf"
)  # fmt: skip
ADAPTER = Licence(
    "its authors' terms, on LLaMA's research terms", "read them first", "https://github.com/OpenGVLab/LLaMA-Adapter"
)
OPEN_CHINESE_LLAMA = Licence(
    "LLaMA's research terms", "no commercial use", "https://github.com/OpenLMLab/OpenChineseLLaMA"
)
EVA = Licence("its authors' terms", "read them first", "https://github.com/baaivision/EVA")
MINIGPT_V2 = Licence("its authors' terms", "read them first", "https://github.com/Vision-CAIR/MiniGPT-4")
