"""PandaGPT with perception: each medium has a soft token and a line of its own, and the answer says how sure it is."""

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from pandagpt_core.checkpoints import CacheSpec, PerceptionSpec
from pandagpt_core.errors import CheckpointError, InvalidRequest, ModelFault
from pandagpt_core.fusion import Projection, PrototypeRetrieval, compose
from pandagpt_core.llm.llama import Llama
from pandagpt_core.llm.tokenizers.base import Tokenizer
from pandagpt_core.perception.evidence import EvidenceReader
from pandagpt_core.perception.perceive import Perceiver
from pandagpt_core.perception.reading import NamedConcept
from pandagpt_core.perception.rows import ROWS, WIDTH, Measures
from pandagpt_core.perception.table import EvidenceTable, Logistic, NameTable
from pandagpt_core.prompts import TEMPLATES
from pandagpt_core.systems.pandagpt import PandaGPT
from pandagpt_core.systems.perceiving import Perceiving, load_perceiving
from pandagpt_core.systems.prompting import Prompting
from pandagpt_core.systems.visual_cache import FolderCache
from pandagpt_core.types import Conversation, MediaUse, Modality, ModelInfo, Role, Turn
from pandagpt_core.visual_cache import VisualCache

INFO = ModelInfo("tiny", "pandagpt", {Modality.IMAGE: "r", Modality.AUDIO: "r"}, 1024, WIDTH, "d", "1")
RECALL = PrototypeRetrieval(torch.eye(2, WIDTH), 20.0)
SURE = Logistic(-10.0, (20.0, 0.0, 0.0))
FAINT = Logistic(-9.0, (25.0, 0.0))  # a half at a cosine of 0.36
TABLE = NameTable(
    concepts=(NamedConcept("cat"), NamedConcept("drum")),
    classes=(),
    concept_of=(),
    things=(),
    concept={Modality.IMAGE: SURE, Modality.VIDEO: SURE, Modality.AUDIO: SURE},
    named=SURE,
    thing=SURE,
    shape=SURE,
    kinds=("animal",),
)


@pytest.fixture(scope="module")
def system(llm: Llama, vicuna: Tokenizer) -> PandaGPT:
    weight = torch.randn(llm.config.width, WIDTH, generator=torch.Generator().manual_seed(1))
    return PandaGPT(
        info=INFO,
        encoder=None,  # type: ignore[arg-type] - nothing is encoded here
        projection=Projection(weight, torch.zeros(llm.config.width), RECALL),
        llm=llm,
        prompting=Prompting(tokenizer=vicuna, template=TEMPLATES["vicuna-v0"]),
        perceiving=Perceiving(PerceptionSpec(), Perceiver(TABLE, RECALL)),
    )


def talk(*modalities: Modality, question: str = "What is it?", weights: tuple[float, ...] = ()) -> Conversation:
    given = weights or (1.0,) * len(modalities)
    uses = zip(modalities, given, strict=True)
    media = tuple(MediaUse(modality, str(at), 0, weight) for at, (modality, weight) in enumerate(uses))
    return Conversation((Turn("user", question),), media)


def rows(concept: int, measures: Measures | None = None) -> torch.Tensor:
    unit = torch.zeros(1 if measures is None else ROWS[Modality.AUDIO], WIDTH)
    unit[0, concept] = 1.0
    if measures is not None:
        unit[1] = measures.row()
    return unit


def line(system: PandaGPT, text: str) -> list[int]:
    return system.tokenizer.encode(text + "\n")


def held(ids: tuple[int, ...], part: list[int], system: PandaGPT, embeds: torch.Tensor) -> int:
    """Index of a line's embeddings in the prompt; they have ids of their own there."""
    wanted = system.llm.embed(part).float()
    for at in range(len(ids) - len(part) + 1):
        if torch.allclose(embeds[at : at + len(part)].float(), wanted):
            return at
    return -1


def test_media_stay_apart_and_in_order_each_behind_its_soft_token(system: PandaGPT) -> None:
    inputs = system.prepare(talk(Modality.IMAGE, Modality.AUDIO), [rows(0), rows(1)])
    first = held(inputs.ids, line(system, "(Picture: a cat.)"), system, inputs.embeds)
    second = held(inputs.ids, line(system, "(Sound: a drum.)"), system, inputs.embeds)
    assert 0 < first < second
    soft = system.projection(torch.cat((rows(0), rows(1))))
    torch.testing.assert_close(inputs.embeds[[first - 1, second - 1]].float(), soft)


def test_without_soft_tokens_a_line_stands_alone(system: PandaGPT) -> None:
    assert system.perceiving is not None
    worded = dataclasses.replace(
        system, perceiving=dataclasses.replace(system.perceiving, spec=PerceptionSpec(soft=False))
    )
    both, alone = (s.prepare(talk(Modality.IMAGE), [rows(0)]) for s in (system, worded))
    at = held(alone.ids, line(system, "(Picture: a cat.)"), system, alone.embeds)
    assert len(alone.ids) == len(both.ids) - 1
    assert at == held(both.ids, line(system, "(Picture: a cat.)"), system, both.embeds) - 1


def test_a_faint_medium_has_its_soft_token_in_any_case(system: PandaGPT) -> None:
    assert system.perceiving is not None
    worded = dataclasses.replace(
        system, perceiving=dataclasses.replace(system.perceiving, spec=PerceptionSpec(soft=False))
    )
    media = talk(Modality.IMAGE, Modality.AUDIO, weights=(1.0, 0.1))
    inputs = worded.prepare(media, [rows(0), rows(1)])
    at = held(inputs.ids, line(system, "(Picture: a cat.)"), system, inputs.embeds)
    faint = inputs.embeds[at + len(line(system, "(Picture: a cat.)"))].float()
    torch.testing.assert_close(faint, 0.1 * system.projection(rows(1))[0])


def test_a_cache_draws_a_medium_where_a_request_says_so(system: PandaGPT) -> None:
    """A sound that lies nearer to the drum is read as the cat of the picture that is retrieved."""
    cache = FolderCache(VisualCache(torch.eye(1, WIDTH)), CacheSpec(rows=1, size=0))
    cached = dataclasses.replace(system, cache=cache, info=dataclasses.replace(INFO, options=cache.options))
    sound = rows(1, Measures(spread=1.0))
    plain = cached.prepare(talk(Modality.AUDIO), [sound])
    assert plain.ids == system.prepare(talk(Modality.AUDIO), [sound]).ids
    assert plain.fields is not None
    options = {"cache_size": 1, "cache_weight": 0.9, "cache_details": True}
    asked = dataclasses.replace(talk(Modality.AUDIO), options=options)
    inputs = cached.prepare(asked, [sound])
    assert held(inputs.ids, line(system, "(Sound: a cat.)"), system, inputs.embeds) > 0
    assert inputs.fields is not None
    assert inputs.fields["cache"] == [{"rows": [0], "similarities": [0.0]}]
    assert inputs.fields["media"][0]["name"] == "cat"


def test_one_switch_makes_it_pandagpts_sum(system: PandaGPT) -> None:
    assert system.perceiving is not None
    spec = PerceptionSpec(fusion="sum")
    summed = dataclasses.replace(system, perceiving=dataclasses.replace(system.perceiving, spec=spec))
    inputs = summed.prepare(talk(Modality.IMAGE, Modality.AUDIO), [rows(0), rows(1)])
    soft = compose(system.projection, torch.cat((rows(0), rows(1))), (1.0, 1.0))
    assert sum(bool(torch.allclose(row.float(), soft)) for row in inputs.embeds) == 1
    assert held(inputs.ids, line(system, "(Picture: a cat.)"), system, inputs.embeds) == -1


def test_the_line_speaks_the_questions_language(system: PandaGPT) -> None:
    inputs = system.prepare(talk(Modality.IMAGE, question="Was ist das?"), [rows(0)])
    assert held(inputs.ids, line(system, "(Bild: eine Katze.)"), system, inputs.embeds) > 0


@pytest.mark.parametrize("role", ["assistant", "tool"])
def test_a_turn_after_the_question_does_not_change_the_lines_language(system: PandaGPT, role: Role) -> None:
    asked = talk(Modality.IMAGE, question="Was ist das?")
    later = Turn(role, "this is the picture of a cat, and it is in the middle of the picture")
    turns = (*asked.turns, Turn("assistant", "Sure."), later) if role == "tool" else (*asked.turns, later)
    continued = dataclasses.replace(asked, turns=turns, continue_final=role == "assistant")
    inputs = system.prepare(continued, [rows(0)])
    assert held(inputs.ids, line(system, "(Bild: eine Katze.)"), system, inputs.embeds) > 0


def test_an_answer_says_of_each_medium_the_name_and_how_sure_it_is(system: PandaGPT) -> None:
    silence = rows(1, Measures(spread=0.0))
    inputs = system.prepare(talk(Modality.IMAGE, Modality.AUDIO), [rows(0), silence])
    assert inputs.fields is not None
    seen, heard = inputs.fields["media"]
    assert (seen["modality"], seen["name"], seen["sure"]) == ("image", "cat", True)
    assert seen["confidence"] > 0.9
    assert (heard["name"], heard["sure"]) == ("silence", True)


def test_a_medium_of_weight_zero_is_left_out_and_a_faint_one_has_no_line(system: PandaGPT) -> None:
    both = (Modality.IMAGE, Modality.AUDIO)
    without = system.prepare(talk(*both, weights=(1.0, 0.0)), [rows(0), rows(1)])
    assert without.ids == system.prepare(talk(Modality.IMAGE), [rows(0)]).ids
    faint = system.prepare(talk(*both, weights=(1.0, 0.1)), [rows(0), rows(1)])
    assert len(faint.ids) == len(without.ids) + 1


def test_rows_of_another_shape_or_not_finite_are_refused(system: PandaGPT) -> None:
    with pytest.raises(InvalidRequest, match="has shape"):
        system.prepare(talk(Modality.IMAGE), [torch.zeros(3, WIDTH)])
    with pytest.raises(ModelFault, match="not finite"):
        system.prepare(talk(Modality.IMAGE), [torch.full((1, WIDTH), float("nan"))])
    with pytest.raises(InvalidRequest, match="2 media"):
        system.prepare(talk(Modality.IMAGE, Modality.AUDIO), [rows(0)])


def test_names_that_are_not_the_recalls_are_refused(tmp_path: Path, system: PandaGPT) -> None:
    from pandagpt_core.checkpoints import EncoderSpec, LLMSpec, PandaGPTFolder, ProjectionSpec
    from pandagpt_core.perception.table import write_name_table

    write_name_table(tmp_path, TABLE)
    folder = PandaGPTFolder(
        id="tiny",
        template="chatml",
        encoder=EncoderSpec(kind="mini"),
        llm=LLMSpec(folder="llm"),
        recipes={},
        files={},
        max_model_len=8,
        projection=ProjectionSpec(in_dim=WIDTH, out_dim=8),
        perception=PerceptionSpec(),
    )
    plain = load_perceiving(tmp_path, folder, system.projection)
    assert plain is not None
    assert plain.evidence is None
    asking = msgspec.structs.replace(folder, perception=PerceptionSpec(asked=True))
    with pytest.raises(CheckpointError, match=r"perception\.json has none"):
        load_perceiving(tmp_path, asking, system.projection)
    write_name_table(tmp_path, msgspec.structs.replace(TABLE, asked=EVIDENCE))
    perceiving = load_perceiving(tmp_path, asking, system.projection)
    assert perceiving is not None
    assert perceiving.evidence is not None
    other = dataclasses.replace(system.projection, recall=PrototypeRetrieval(torch.eye(3, WIDTH), 20.0))
    with pytest.raises(CheckpointError, match="names 2 concepts, the recall has 3"):
        load_perceiving(tmp_path, folder, other)


EVIDENCE = EvidenceTable({}, {}, {}, (), {Modality.IMAGE: {"concept": FAINT}, Modality.AUDIO: {"concept": FAINT}})


@pytest.fixture
def asking(system: PandaGPT) -> PandaGPT:
    """With evidence for asked names; half a drum is not sure enough to be named unasked."""
    assert system.perceiving is not None
    evidence = EvidenceReader(system.perceiving.perceiver, EVIDENCE)
    spec = PerceptionSpec(asked=True)
    return dataclasses.replace(system, perceiving=dataclasses.replace(system.perceiving, spec=spec, evidence=evidence))


def faint_drum() -> torch.Tensor:
    unit = torch.zeros(1, WIDTH)
    unit[0, 1], unit[0, 2] = 0.4, 0.9
    return unit


def test_a_question_for_a_name_finds_it_with_less_evidence(system: PandaGPT, asking: PandaGPT) -> None:
    asked = talk(Modality.IMAGE, question="Is there a drum in the picture?")
    before, after = (each.prepare(asked, [faint_drum()]) for each in (system, asking))
    assert held(before.ids, line(system, "(Picture: a drum.)"), system, before.embeds) == -1
    assert held(after.ids, line(system, "(Picture: a drum.)"), system, after.embeds) > 0
    assert before.fields is not None
    assert after.fields is not None
    [was], [now] = before.fields["media"], after.fields["media"]
    assert now == {**was, "asked": {"drum": pytest.approx(0.76, abs=0.01)}}


@pytest.mark.parametrize("question", ["What is this?", "How many drums are there?", "Is there a cat?", "Tell me more."])
def test_other_questions_have_the_prompt_that_they_had(system: PandaGPT, asking: PandaGPT, question: str) -> None:
    asked = talk(Modality.IMAGE, question=question)
    assert asking.prepare(asked, [faint_drum()]).ids == system.prepare(asked, [faint_drum()]).ids


def test_a_question_for_a_sound_leaves_the_picture_alone(system: PandaGPT, asking: PandaGPT) -> None:
    both = talk(Modality.IMAGE, Modality.AUDIO, question="Do you hear a drum?")
    inputs = asking.prepare(both, [faint_drum(), faint_drum()])
    assert held(inputs.ids, line(system, "(Sound: a drum.)"), system, inputs.embeds) > 0
    assert held(inputs.ids, line(system, "(Picture: a drum.)"), system, inputs.embeds) == -1


def test_the_last_user_turn_asks_and_a_continued_answer_has_the_same_line(asking: PandaGPT) -> None:
    asked = talk(Modality.IMAGE, question="Is there a drum?")
    once = asking.prepare(asked, [faint_drum()]).ids
    begun = dataclasses.replace(asked, turns=(*asked.turns, Turn("assistant", "Yes,")), continue_final=True)
    assert asking.prepare(begun, [faint_drum()]).ids[: len(once)] == once
    later = dataclasses.replace(asked, turns=(*asked.turns, Turn("assistant", "Yes."), Turn("user", "What is this?")))
    plain = dataclasses.replace(later, turns=(Turn("user", "Was there a drum then"), *later.turns[1:]))
    assert asking.prepare(later, [faint_drum()]).fields == asking.prepare(plain, [faint_drum()]).fields


def test_rows_are_read_as_they_come_out_of_a_cache(system: PandaGPT) -> None:
    stored = torch.from_numpy(np.array(rows(0).numpy()))
    assert system.prepare(talk(Modality.IMAGE), [stored]).ids == system.prepare(talk(Modality.IMAGE), [rows(0)]).ids
