"""The language model's stages of the build: projection and LoRA from vectors, then from lines of words."""

import hashlib
import inspect
from pathlib import Path

import torch

from pandagpt_core.llm.tokenizers.base import load_tokenizer
from pandagpt_core.llm.weights import load_llama
from pandagpt_core.training.device import CPU
from pandagpt_core.training.lora import add_lora
from recipes.panda_mini import talks
from recipes.panda_mini import vocabulary as vocabulary_of
from recipes.panda_mini.concepts import load_concepts
from recipes.panda_mini.export import llm_file
from recipes.panda_mini.job import BuildJob, State
from recipes.panda_mini.language import reading_lora
from recipes.panda_mini.language.base_answers import base_answers
from recipes.panda_mini.language.projection_lora import (
    Gallery,
    adapter_state,
    batches,
    name_targets,
    reading_projection,
    train_speech,
)
from recipes.panda_mini.language.qa_templates import DESCRIBING, KINDS, NAMING
from recipes.panda_mini.language.text_questions import TEXT_ONLY
from recipes.panda_mini.space.embedding_space import Space, imagenet_names
from recipes.panda_mini.vocabulary import vocabulary


def speech_digest() -> str:
    """Names the questions and answers of the language model's stage."""
    tables = (
        TEXT_ONLY,
        NAMING,
        DESCRIBING,
        sorted((kind, sorted(yes), sorted(no)) for kind, (yes, no) in KINDS.items()),
    )
    return hashlib.sha256(repr(tables).encode()).hexdigest()


def make_speech(space: Space, job: BuildJob) -> State:
    """Projection and LoRA, trained on what is recalled of the cross-fitted embeddings."""
    recipe = job.recipe
    torch.manual_seed(recipe.seed)
    concepts, file, config = load_concepts(), llm_file(), recipe.speech
    llm, tokenizer = load_llama(file), load_tokenizer(file)
    projection = reading_projection(name_targets(llm, tokenizer, concepts), space.bank, config.ridge)
    lora = add_lora(llm, recipe.lora)
    gallery = Gallery(space.embeddings, space.key, space.bank, config)
    plain = base_answers(file, TEXT_ONLY, config.base_tokens, job.cache)

    def every(step: int, loss: float) -> None:
        if step % 10 == 0:
            job.log("speech", step=step, of=recipe.speech_steps, loss=round(loss, 3))

    drawn = batches(gallery, concepts, tokenizer, plain)
    train_speech(llm.to(job.device), projection.to(job.device), drawn, recipe.speech_steps, recipe.lora, every)
    learned = {name: tensor.to(CPU) for name, tensor in adapter_state(projection, lora).items()}
    return {**learned, "projection.recall": space.bank}


def make_reading(spoken: State, job: BuildJob) -> State:
    """The same LoRA, trained on to answer from lines of words; the projection stays."""
    recipe, config = job.recipe, job.recipe.reading
    torch.manual_seed(recipe.seed)
    file = llm_file()
    llm, tokenizer = load_llama(file), load_tokenizer(file)
    lora = add_lora(llm, recipe.lora)
    reading_lora.start_from(lora, spoken)
    projection = reading_lora.projection_of(spoken)
    plain = base_answers(file, TEXT_ONLY, recipe.speech.base_tokens, job.cache)
    words, concepts = vocabulary(imagenet_names()), load_concepts()
    drawn = reading_lora.Talks(tokenizer, words, concepts, spoken["projection.recall"], plain, config)

    def every(step: int, loss: float) -> None:
        if step % 10 == 0:
            job.log("reading", step=step, of=recipe.reading_steps, loss=round(loss, 3))

    device = job.device
    reading_lora.train_reading(
        llm.to(device), projection.to(device), drawn.batches(), recipe.reading_steps, config.lr, every
    )
    learned = {name: tensor.to(CPU) for name, tensor in adapter_state(projection, lora).items()}
    return {**learned, "projection.recall": spoken["projection.recall"]}


def talks_digest(folder: Path = Path(talks.__path__[0])) -> str:
    """Names the conversations about lines of words: by the text of each module of `folder`, and the vocabulary's."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    return hashlib.sha256("".join((*texts, inspect.getsource(vocabulary_of))).encode()).hexdigest()
