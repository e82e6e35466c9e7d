"""The language model's stage: from embeddings of the space to examples, and projection and LoRA trained by them.

The model learns to read: an example's answer names what the recalled embedding holds most of, right or wrong. The space
decided whether the picture shows that; a language model taught to know better would learn the pictures of its training
by heart.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pandagpt_core.fusion import PrototypeRetrieval
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.prompts import TEMPLATES, token_ids
from pandagpt_core.training.batch import IGNORED, answer_sums, collate
from pandagpt_core.training.device import mixed
from pandagpt_core.training.lora import LinearWarmupDecay, LoraConfig, LoraLinear
from pandagpt_core.training.optimise import optimise
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn
from recipes.panda_mini.concepts import Concept
from recipes.panda_mini.language.qa_templates import NO_PICTURE, ask_again, ask_of_nothing, say, say_both, with_article

TEMPLATE = TEMPLATES["chatml"]


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """A batch's shares. Of its examples `text_only` have no picture, and `pictureless` ask after one all the same.

    sharpness: of the recall; examples vary it from `softer` to `sharper` times. pairs: the share of pictures that come
    with a second medium, half of them of the same concept. clear: by how much the strongest of two must lead; beyond
    `present` each, both are named. later: the share of talks with a question before. text_tokens: how much of the
    `base_tokens` that the untouched model answered is learned; its answers are long, and would outweigh the names.
    """

    batch: int = 16
    text_only: int = 3
    pictureless: int = 1
    sharpness: float = 20.0
    softer: float = 0.6
    sharper: float = 2.0
    pairs: float = 0.25
    clear: float = 0.15
    present: float = 0.75
    later: float = 0.08
    base_tokens: int = 40
    text_tokens: int = 24
    ridge: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """Prompt token ids with None at the soft slot, answer token ids, and the [E] embedding for the slot if any."""

    prompt: tuple[int | None, ...]
    answer: tuple[int, ...]
    embedding: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A recalled embedding [E] (of two media the sum), and the concepts in it that an answer must name, in order."""

    embedding: Tensor
    named: tuple[int, ...]


class Gallery:
    """Draws recalled embeddings, every concept as often as every other."""

    def __init__(self, embeddings: Tensor, key: Tensor, directions: Tensor, config: SpeechConfig) -> None:
        """embeddings [M, E] unit vectors of the concepts `key` [M]; directions [C, E] of the recall."""
        self.embeddings, self.key, self.directions, self.config = embeddings, key, directions, config
        nearest = (embeddings @ directions.T).argmax(dim=1)
        self.read_as = [(nearest == concept).nonzero()[:, 0].numpy() for concept in range(len(directions))]
        self.of = [(key == concept).nonzero()[:, 0].numpy() for concept in range(len(directions))]

    def draw(self, rng: np.random.Generator) -> Seen:
        concept = int(rng.integers(len(self.directions)))
        shares = self._shares(concept, rng)
        if rng.random() < self.config.pairs:
            return self._pair(shares, rng)
        return self._seen(shares, (int(shares.argmax()),))

    def _shares(self, concept: int, rng: np.random.Generator) -> Tensor:
        """[C]: an embedding that is nearest to the concept; where there is none, or now and then, its own direction."""
        rows = self.read_as[concept]
        vector = self.directions[concept]
        if len(rows) and rng.random() > 0.1:
            vector = self.embeddings[int(rng.choice(rows))]
        return self._recalled(vector, rng)

    def _pair(self, shares: Tensor, rng: np.random.Generator) -> Seen:
        """With another medium: of the same concept, or of any."""
        same = self.of[int(shares.argmax())]
        row = rng.choice(same) if len(same) and rng.random() < 0.5 else rng.integers(len(self.embeddings))
        both = shares + self._recalled(self.embeddings[int(row)], rng)
        values, order = both.topk(2)
        first, second = float(values[0]), float(values[1])
        if second > self.config.present:
            return self._seen(both, tuple(order.tolist()))
        if first - second < self.config.clear:
            return self._seen(shares, (int(shares.argmax()),))
        return self._seen(both, (int(order[0]),))

    def _recalled(self, vector: Tensor, rng: np.random.Generator) -> Tensor:
        factor = float(np.exp(rng.uniform(np.log(self.config.softer), np.log(self.config.sharper))))
        return PrototypeRetrieval(self.directions, self.config.sharpness * factor).shares(vector)

    def _seen(self, shares: Tensor, named: tuple[int, ...]) -> Seen:
        return Seen(shares @ self.directions, named)


def picture_prompt(tokenizer: Tokenizer, *said: str) -> tuple[int | None, ...]:
    """The prompt as the service writes it for one picture and a question, or question, answer, question."""
    turns = tuple(Turn("assistant" if index % 2 else "user", text) for index, text in enumerate(said))
    conversation = Conversation(turns, (MediaUse(Modality.IMAGE, "0" * 64, 0),))
    return tuple(token_ids(TEMPLATE, tokenizer, conversation))


def text_prompt(tokenizer: Tokenizer, question: str) -> tuple[int | None, ...]:
    return tuple(token_ids(TEMPLATE, tokenizer, Conversation((Turn("user", question),))))


def name_targets(llm: Llama, tokenizer: Tokenizer, concepts: Sequence[Concept]) -> Tensor:
    """[concepts, D]: where the language model's own table has a concept's name."""
    return torch.stack([llm.embed(tokenizer.encode(" " + c.name)).mean(dim=0) for c in concepts]).detach()


def batches(
    gallery: Gallery,
    concepts: Sequence[Concept],
    tokenizer: Tokenizer,
    plain: Mapping[str, Sequence[int]],
) -> Iterator[list[Example]]:
    """Endless batches. plain: questions that need no picture, and the ids of what the untouched model answers."""
    config = gallery.config
    rng = np.random.default_rng(config.seed)
    end = next(iter(tokenizer.eos_ids))
    alone = list(plain)
    while True:
        pictures = config.batch - config.text_only - config.pictureless
        batch = [_example(gallery.draw(rng), concepts, tokenizer, config, rng) for _ in range(pictures)]
        for question in rng.choice(alone, config.text_only):
            said = plain[str(question)][: config.text_tokens]
            batch.append(Example(text_prompt(tokenizer, str(question)), tuple(said)))
        for question in (ask_of_nothing(concepts, rng) for _ in range(config.pictureless)):
            batch.append(Example(text_prompt(tokenizer, question), (*tokenizer.encode(NO_PICTURE), end)))
        yield batch


def _example(
    seen: Seen, concepts: Sequence[Concept], tokenizer: Tokenizer, config: SpeechConfig, rng: np.random.Generator
) -> Example:
    named = [concepts[index] for index in seen.named]
    said: tuple[str, ...] = say(named[0], concepts, rng) if len(named) == 1 else say_both(named[0], named[1], rng)
    if len(named) == 1 and rng.random() < config.later:
        question, pattern = ask_again(rng)
        said = (*said, question, pattern.format(a=with_article(named[0])))
    end = next(iter(tokenizer.eos_ids))
    return Example(picture_prompt(tokenizer, *said[:-1]), (*tokenizer.encode(said[-1]), end), seen.embedding)


def batch_loss(llm: Llama, projection: nn.Linear, examples: Sequence[Example]) -> Tensor:
    """Mean cross entropy over the answers' tokens, on the projection's device."""
    ids = [(*one.prompt, *one.answer) for one in examples]
    targets = [(*[IGNORED] * len(one.prompt), *one.answer) for one in examples]
    media = [[] if one.embedding is None else [one.embedding] for one in examples]
    batch = collate(ids, targets, media, projection.in_features)
    return answer_sums(llm, projection, batch.to(projection.weight.device)).loss / batch.learned


def train_speech(
    llm: Llama,
    projection: nn.Linear,
    batches: Iterable[Sequence[Example]],
    steps: int,
    config: LoraConfig,
    every: Callable[[int, float], None] = lambda _step, _loss: None,
) -> list[float]:
    """Train the LoRA of `add_lora` and the projection in place, on the device where both lie; every step's loss.

    `batches` has at least `steps`; `every` is called with the number of steps done and the last one's loss.
    """
    lora = [p for p in llm.parameters() if p.requires_grad]
    groups = [
        {"params": lora, "highest": config.lr},
        {"params": [*projection.parameters()], "highest": config.projection_lr},
    ]
    seen: list[float] = []
    drawn = iter(batches)

    def losses(_step: int) -> Iterator[Tensor]:
        with mixed(projection.weight.device, wanted=config.bf16):
            loss = batch_loss(llm, projection, next(drawn))
        yield loss

    def after(step: int, loss: float, _norm: float) -> None:
        seen.append(loss)
        every(step + 1, loss)

    optimise(
        torch.optim.AdamW(groups, weight_decay=0.001),
        tqdm(range(steps), desc="training", mininterval=10),
        losses,
        after,
        rate=LinearWarmupDecay(steps, config.warmup),
        clip=config.clip,
    )
    return seen


def adapter_state(projection: nn.Linear, lora: Mapping[str, LoraLinear]) -> dict[str, Tensor]:
    """The adapter as a model folder keeps it."""
    state = {"projection.weight": projection.weight.detach(), "projection.bias": projection.bias.detach()}
    for name, layer in lora.items():
        state |= {f"{name}.lora_A.weight": layer.a.detach(), f"{name}.lora_B.weight": layer.b.detach()}
    return state


def reading_projection(names: Tensor, directions: Tensor, strength: float) -> nn.Linear:
    """The linear map [E] -> [D] from each known direction onto the word vectors of its name, without a bias.

    names: [C, D] where the language model's table has each concept; directions: [C, E], those of the recall. There are
    fewer of them than E, so ridge regression reaches the names nearly exactly, and since nothing but mixtures of them
    is ever read, large weights do no harm. The bias stays zero: media are summed, and it would count for each.
    """
    gram = directions @ directions.T + strength * torch.eye(len(directions))
    layer = nn.Linear(directions.shape[1], names.shape[1])
    with torch.no_grad():
        layer.weight.copy_(names.T @ torch.linalg.solve(gram, directions))
        layer.bias.zero_()
    layer.bias.requires_grad_(False)
    return layer
