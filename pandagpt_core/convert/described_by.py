"""Facts in a Hugging Face folder about its language model, beside the weights: the prompt's form and the licence."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pandagpt_core.checkpoints import PandaGPTTemplate
from pandagpt_core.llm.tokenizers.special_tokens import read_json

# Words that only one family's chat template has, the most distinctive first.
_FAMILIES: Mapping[str, PandaGPTTemplate] = MappingProxyType(
    {
        "<|start_header_id|>": "llama3",
        "enable_thinking": "qwen3",
        "You are Qwen, created by Alibaba Cloud": "qwen2.5",
        "<|im_start|>": "chatml",
    }
)
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "USE_POLICY.md")
UNSTATED = "not stated in its folder"


def template_of(folder: Path) -> PandaGPTTemplate:
    """The prompt template that the folder's chat template belongs to; Vicuna's where it has none of those known."""
    written = _chat_template(folder)
    return next((name for words, name in _FAMILIES.items() if words in written), "vicuna-v0")


def licence_of(folder: Path) -> str:
    """The `license` (or the `license_name` of another) that the head of the folder's README.md states."""
    stated = _front_matter(folder / "README.md")
    licence = stated.get("license", "")
    return (stated.get("license_name", licence) if licence in ("", "other") else licence) or UNSTATED


def licence_files(folder: Path) -> list[str]:
    """Names of the folder's licence files, among the usual ones."""
    return [name for name in LICENCE_FILES if (folder / name).is_file()]


def _chat_template(folder: Path) -> str:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8", errors="replace")
    found = read_json(folder / "tokenizer_config.json").get("chat_template") or ""
    return found if isinstance(found, str) else "".join(str(one.get("template", "")) for one in found)


def _front_matter(readme: Path) -> dict[str, str]:
    """The `key: value` lines between the two lines of dashes that a model card begins with."""
    lines = readme.read_text(encoding="utf-8", errors="replace").splitlines() if readme.is_file() else []
    if not lines or lines[0].strip() != "---" or "---" not in lines[1:]:
        return {}
    head = lines[1 : lines.index("---", 1)]
    pairs = [line.split(":", 1) for line in head if ":" in line and not line.startswith((" ", "-"))]
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}
