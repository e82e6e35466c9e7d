"""The language model learns to answer from lines of words: LoRA trained on, projection and everything else frozen."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.perception.languages import LANGUAGES
from pandagpt_core.perception.reading import Reading, words
from pandagpt_core.prompts import TEMPLATES, control_id, token_ids
from pandagpt_core.training.batch import IGNORED, Batch, answer_sums
from pandagpt_core.training.device import mixed
from pandagpt_core.training.lora import LinearWarmupDecay, LoraLinear
from pandagpt_core.training.optimise import optimise
from pandagpt_core.types import Conversation, MediaUse, Modality, Turn
from recipes.panda_mini.concepts import Concept
from recipes.panda_mini.language.qa_templates import NO_PICTURE, ask_of_nothing
from recipes.panda_mini.talks.describing import ask_both
from recipes.panda_mini.talks.naming import foreign
from recipes.panda_mini.talks.readings import draw_reading
from recipes.panda_mini.talks.talk import draw_talk
from recipes.panda_mini.talks.words import Talk, TalkVocabulary

TEMPLATE = TEMPLATES["chatml"]
_MORE = ("Tell me more about it.", "What do you know about it?", "What is that?", "Explain what it is.")


@dataclass(frozen=True, slots=True)
class ReadingConfig:
    """Of `batch` talks: the shares of two media, of another language, of plain questions and of ones about nothing.

    plain_tokens: how much of what the untouched model answered is learned. after: the share of talks about a picture
    that end with a plain question, or ask for more about what it shows. pool: batches that are drawn together, so that
    talks of one length share a batch.
    """

    batch: int = 8
    pairs: float = 0.1
    languages: float = 0.12
    plain: float = 0.12
    nothing: float = 0.03
    plain_tokens: int = 24
    after: float = 0.15
    pool: int = 6
    lr: float = 7e-4
    seed: int = 5


@dataclass(frozen=True, slots=True)
class Laid:
    """Token ids with None at soft slots, the targets, and the [E] vectors of the slots in order."""

    ids: tuple[int | None, ...]
    targets: tuple[int, ...]
    vectors: tuple[Tensor, ...]


class Talks:
    """Draws laid-out talks."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary: TalkVocabulary,
        concepts: Sequence[Concept],
        directions: Tensor,
        plain: Mapping[str, Sequence[int]],
        config: ReadingConfig,
    ) -> None:
        self._tokenizer, self._vocabulary, self._concepts = tokenizer, vocabulary, concepts
        self._directions, self._plain, self._config = directions, plain, config
        self._of_name = {concept.name: index for index, concept in enumerate(concepts)}
        self._cue = [control_id(tokenizer, "<|im_start|>"), *tokenizer.encode("assistant\n")]
        self._end = control_id(tokenizer, "<|im_end|>")

    def batches(self) -> Iterator[list[Laid]]:
        rng = np.random.default_rng(self._config.seed)
        size, pool = self._config.batch, self._config.pool
        while True:
            drawn = sorted((self._one(rng) for _ in range(size * pool)), key=lambda one: len(one.ids))
            for batch in rng.permutation(pool):
                yield drawn[batch * size : (batch + 1) * size]

    def _one(self, rng: np.random.Generator) -> Laid:
        config, kind = self._config, rng.random()
        if kind < config.plain:
            question = str(rng.choice(list(self._plain)))
            return self._continued(question, self._plain[question][: config.plain_tokens])
        if kind < config.plain + config.nothing:
            question = ask_of_nothing(self._concepts, rng)
            return self._continued(question, [*self._tokenizer.encode(NO_PICTURE), self._end])
        reading = draw_reading(self._vocabulary, rng)
        if rng.random() < config.pairs:
            other = draw_reading(self._vocabulary, rng)
            first, second = (
                (reading, other) if reading.sense == "picture" or other.sense != "picture" else (other, reading)
            )
            talk = [ask_both(first, second, rng)]
            return self._laid(talk, [(r, words(r)) for r in (first, second)], rng)
        if rng.random() < config.languages:
            language = LANGUAGES[str(rng.choice(["de", "es", "fr"]))]
            known = [one for one in self._vocabulary.names if one.name in language.names]
            if reading.names and rng.random() < 0.7:
                chosen = tuple(known[int(rng.integers(len(known)))] for _ in reading.names)
                reading = Reading(reading.sense, chosen, reading.sure, "", "", reading.colours, reading.ground)
            asked = foreign(reading, language, rng)
            if asked is not None:
                return self._laid([asked], [(reading, words(reading, language))], rng)
        talk = draw_talk(reading, self._vocabulary, rng)
        if rng.random() < config.after:
            talk = [*talk[:2], self._later(reading, rng)]
        return self._laid(talk, [(reading, words(reading))], rng)

    def _later(self, reading: Reading, rng: np.random.Generator) -> tuple[str, str]:
        """A later turn of a talk: more about the picture's subject, or something else."""
        concept = self._concepts[self._of_name[reading.names[0].name]] if self._is_concept(reading) else None
        if concept is not None and rng.random() < 0.5:
            return str(rng.choice(_MORE)), f"It is {concept.desc}."
        question = str(rng.choice(list(self._plain)))
        answer = [token for token in self._plain[question][: self._config.plain_tokens] if token != self._end]
        return question, "".join(self._tokenizer.decode(answer)).strip()

    def _is_concept(self, reading: Reading) -> bool:
        return reading.sure and reading.names[0].name in self._of_name

    def _continued(self, question: str, answer: Sequence[int]) -> Laid:
        prompt = token_ids(TEMPLATE, self._tokenizer, Conversation((Turn("user", question),)))
        return Laid((*prompt, *answer), (*[IGNORED] * len(prompt), *answer), ())

    def _laid(self, talk: Talk, media: Sequence[tuple[Reading, str]], rng: np.random.Generator) -> Laid:
        turns = [turn for asked, said in talk for turn in (Turn("user", asked), Turn("assistant", said))]
        uses = tuple(MediaUse(Modality.IMAGE, f"{at:064x}", 0) for at in range(len(media)))
        ids: list[int | None] = []
        for token in token_ids(TEMPLATE, self._tokenizer, Conversation((*turns, Turn("user", "")), uses)):
            if token is None:
                for _, line in media:
                    ids += [None, *self._tokenizer.encode(line + "\n")]
            else:
                ids.append(token)
        targets = self._targets(ids)
        last = max(at for at, target in enumerate(targets) if target != IGNORED) + 1
        return Laid(tuple(ids[:last]), tuple(targets[:last]), tuple(self._vector(r, rng) for r, _ in media))

    def _targets(self, ids: Sequence[int | None]) -> list[int]:
        """The tokens between a cue and the end of its turn, the end included; the last cue has no answer."""
        targets, inside = [IGNORED] * len(ids), False
        for at, token in enumerate(ids):
            if inside and token is not None:
                targets[at] = token
                inside = token != self._end
            elif list(ids[at - len(self._cue) + 1 : at + 1]) == self._cue and self._end in ids[at:]:
                inside = True
        return targets

    def _vector(self, reading: Reading, rng: np.random.Generator) -> Tensor:
        """A recalled embedding as such a medium's would be: near the concept's direction, or among several."""
        shares = torch.from_numpy(rng.dirichlet([0.05] * len(self._directions))).float()
        known = [self._of_name[n] for one in reading.names for n in (one.name, *one.kinds) if n in self._of_name]
        own = float(rng.uniform(0.5, 1.0) if reading.sure else rng.uniform(0.1, 0.5)) if known else 0.0
        shares *= 1 - own
        for index in known[:2]:
            shares[index] += own / len(known[:2])
        return shares @ self._directions


def collated(laid: Sequence[Laid], width: int) -> Batch:
    """Padded on the right, with one vector of weight 0 first, so that there is always one."""
    longest = max(len(one.ids) for one in laid)
    tokens = torch.zeros(len(laid), longest, dtype=torch.long)
    targets = torch.full((len(laid), longest), IGNORED)
    keep = torch.zeros(len(laid), longest, dtype=torch.bool)
    soft = torch.zeros_like(keep)
    vectors, rows, places = [torch.zeros(width)], [0], [0]
    for row, one in enumerate(laid):
        tokens[row, : len(one.ids)] = torch.tensor([token or 0 for token in one.ids])
        targets[row, : len(one.targets)] = torch.tensor(one.targets)
        keep[row, : len(one.ids)] = True
        at = [place for place, token in enumerate(one.ids) if token is None]
        soft[row, at] = True
        vectors += one.vectors
        places += at
        rows += [row] * len(at)
    weights = torch.tensor([0.0, *[1.0] * (len(vectors) - 1)])
    return Batch(tokens, targets, keep, soft, torch.stack(vectors), weights, torch.tensor(rows), torch.tensor(places))


def start_from(lora: Mapping[str, LoraLinear], adapter: Mapping[str, Tensor]) -> None:
    """The LoRA pairs of an adapter into the layers that `add_lora` wrapped."""
    with torch.no_grad():
        for name, layer in lora.items():
            layer.a.copy_(adapter[f"{name}.lora_A.weight"])
            layer.b.copy_(adapter[f"{name}.lora_B.weight"])


def projection_of(adapter: Mapping[str, Tensor]) -> nn.Linear:
    """Frozen."""
    weight = adapter["projection.weight"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(adapter["projection.bias"])
    return layer.requires_grad_(False)


def train_reading(
    llm: Llama,
    projection: nn.Linear,
    batches: Iterable[Sequence[Laid]],
    steps: int,
    lr: float,
    every: Callable[[int, float], None],
) -> None:
    """The LoRA of `llm` in place, on the device where it lies."""
    trained = [parameter for parameter in llm.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW([{"params": trained, "highest": lr}], lr=lr, weight_decay=0.001)
    device, drawn = projection.weight.device, iter(batches)

    def losses(_step: int) -> Iterator[Tensor]:
        batch = collated(next(drawn), projection.in_features)
        with mixed(device):
            loss = answer_sums(llm, projection, batch.to(device)).loss / batch.learned
        yield loss

    def after(step: int, loss: float, _norm: float) -> None:
        every(step + 1, loss)

    optimise(optimizer, range(steps), losses, after, rate=LinearWarmupDecay(steps, 0.05), clip=1.0)
