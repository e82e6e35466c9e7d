"""The running sequences, their order, and the number of positions of a step."""

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Items

import pytest
import torch

from pandagpt_core.engine.config import EngineConfig, EngineSizes, Reserve, resolve
from pandagpt_core.engine.scheduler import Scheduler
from pandagpt_core.engine.sequence import AnswerText, ScheduledChunk, Sequence
from pandagpt_core.llm.inputs import LLMInputs
from pandagpt_core.llm.tokenizers.detokenizer import Detokenizer, PieceTable
from pandagpt_core.types import Priority, SamplingParams

Make = Callable[..., Sequence]


@pytest.fixture
def make() -> Make:
    def build(name: str, prompt: int = 4, limit: int = 4, priority: Priority = "interactive") -> Sequence:
        text = AnswerText(Detokenizer(PieceTable([], strips_space=False)), ())
        inputs = LLMInputs(torch.zeros(prompt, 2), tuple(range(prompt)))
        return Sequence(name, inputs, SamplingParams(), text, limit, frozenset(), priority=priority)

    return build


class FakeCache:
    """A cache manager without keys or values. `same` names sequences whose prefix is worth waiting for."""

    def __init__(self) -> None:
        self.same: set[str] = set()

    def allocate(self, sequence: Sequence) -> None:
        assert sequence.num_computed_tokens == 0

    def free(self, sequence: Sequence) -> None:
        sequence.num_computed_tokens = 0

    def should_wait_for_prefix(self, sequence: Sequence, reading: Iterable[Sequence]) -> bool:
        return sequence.id in self.same and any(other.id in self.same for other in reading)


def scheduler(
    slots: int = 4,
    blocks: int = 100,
    chunk: int = 10,
    reserve: Reserve = "longest",
    cache: FakeCache | None = None,
    **turns: int,
) -> Scheduler:
    return Scheduler(EngineSizes(slots, 4, blocks, chunk, 100, reserve=reserve, **turns), slots, cache or FakeCache())


def names(chunks: Items[ScheduledChunk]) -> list[tuple[str, int, int]]:
    return [(chunk.sequence.id, chunk.start, chunk.count) for chunk in chunks]


def advance(chunks: Items[ScheduledChunk]) -> list[tuple[str, int, int]]:
    """Pretend that the step ran: positions computed, a token chosen where the chunk reached the end."""
    done = names(chunks)
    for chunk in chunks:
        chunk.sequence.num_computed_tokens = chunk.end
        if chunk.samples:
            chunk.sequence.append(0)
    return done


def test_first_come_is_first_served_within_a_priority(make: Make) -> None:
    s = scheduler(slots=3)
    for name, priority in (("b1", "batch"), ("i1", "interactive"), ("b2", "batch"), ("i2", "interactive")):
        s.add(make(name, prompt=1, priority=priority))
    assert [name for name, _, _ in names(s.schedule())] == ["i1", "i2", "b1"]
    assert s.waiting == 1


def test_a_long_prompt_is_read_in_chunks_beside_decoding(make: Make) -> None:
    s = scheduler(chunk=4)
    s.add(make("short", prompt=2))
    s.add(make("long", prompt=9))
    assert advance(s.schedule()) == [("short", 0, 2), ("long", 0, 2)]
    assert advance(s.schedule()) == [("short", 2, 1), ("long", 2, 4)]
    assert advance(s.schedule()) == [("short", 3, 1), ("long", 6, 3)]
    assert advance(s.schedule()) == [("short", 4, 1), ("long", 9, 1)]


def test_nobody_is_admitted_while_the_chunk_is_used_up(make: Make) -> None:
    s = scheduler(chunk=4)
    s.add(make("long", prompt=9))
    s.add(make("next", prompt=1))
    assert advance(s.schedule()) == [("long", 0, 4)]
    assert advance(s.schedule()) == [("long", 4, 4)]
    assert s.waiting == 1
    assert advance(s.schedule()) == [("long", 8, 1), ("next", 0, 1)]


def test_the_head_of_the_queue_waits_for_blocks_and_is_not_overtaken(make: Make) -> None:
    s = scheduler(blocks=4)
    s.add(make("first", prompt=4, limit=8))  # 3 blocks of 4
    s.add(make("large", prompt=8, limit=8))
    s.add(make("small", prompt=1, limit=1))
    assert [name for name, _, _ in advance(s.schedule())] == ["first"]
    assert (s.used_blocks, s.waiting) == (3, 2)
    s.remove("first")
    assert s.used_blocks == 0
    assert [name for name, _, _ in names(s.schedule())] == ["large"]


def test_sequences_wait_for_a_slot(make: Make) -> None:
    s = scheduler(slots=1)
    s.add(make("a"))
    s.add(make("b"))
    advance(s.schedule())
    assert [name for name, _, _ in names(s.schedule())] == ["a"]
    s.remove("a")
    assert [name for name, _, _ in names(s.schedule())] == ["b"]


def test_removing_forgets_who_runs_and_who_waits(make: Make) -> None:
    s, a = scheduler(slots=1), make("a")
    s.add(a)
    s.add(make("b"))
    s.schedule()
    assert "a" in s
    assert "b" in s
    assert s.remove("a") is a
    assert s.remove("a") is None
    assert s.remove("b") is not None
    assert s.remove("nobody") is None
    assert "a" not in s
    assert "b" not in s
    assert s.waiting == 0


def test_a_resumed_sequence_reads_its_tokens_with_the_prompt(make: Make) -> None:
    s, a = scheduler(), make("a", prompt=4, limit=9)
    a.replay([1, 2, 3])
    s.add(a)
    assert advance(s.schedule()) == [("a", 0, 7)]
    assert advance(s.schedule()) == [("a", 7, 1)]


def test_sizes_follow_from_bytes_blocks_or_the_context() -> None:
    assert resolve(EngineConfig(max_running=2, max_model_len=100), 64, 10).kv_blocks == 2 * 4
    shared = resolve(EngineConfig(kv_bytes=3210), 64, 10)
    assert (shared.kv_blocks, shared.prefix_blocks) == (18, 2)
    assert resolve(EngineConfig(kv_blocks=24), 64, 10).prefix_blocks == 3
    assert resolve(EngineConfig(kv_bytes=3210, prefix_blocks=0), 64, 10).kv_blocks == 20
    assert resolve(EngineConfig(kv_blocks=7, kv_bytes=1), 64, 10).kv_blocks == 7
    assert resolve(EngineConfig(kv_blocks=2, block_size=8), 64, 10).max_model_len == 16


def test_a_cache_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a cache of 0 blocks"):
        resolve(EngineConfig(kv_bytes=10), 64, 10)


@pytest.mark.parametrize("turn", [1, 3, 8])
def test_a_batch_sequence_gets_its_turn_however_many_interactive_ones_arrive(make: Make, turn: int) -> None:
    s = scheduler(slots=1, batch_turn=turn)
    s.add(make("batch", prompt=1, priority="batch"))
    order = []
    for n in range(3 * turn):
        s.add(make(f"i{n}", prompt=1))
        [(name, _, _)] = names(s.schedule())
        order.append(name)
        s.running[name].preempted_for_priority = True  # no sequence may be preempted here
        s.remove(name)
    assert order.index("batch") == turn


def test_an_interactive_sequence_takes_the_place_of_the_youngest_batch_one_once(make: Make) -> None:
    s = scheduler(slots=2)
    for name in ("old", "young"):
        s.add(make(name, prompt=1, priority="batch"))
    advance(s.schedule())
    s.add(make("first", prompt=1))
    assert [name for name, _, _ in advance(s.schedule())] == ["old", "first"]
    assert (s.waiting, s.num_preemptions) == (1, 1)
    s.remove("first")
    assert advance(s.schedule()) == [("old", 2, 1), ("young", 0, 2)]  # its token is read again
    for name in ("second", "third"):
        s.add(make(name, prompt=1))
    assert [name for name, _, _ in advance(s.schedule())] == ["young", "second"]
    assert [name for name, _, _ in advance(s.schedule())] == ["young", "second"]
    assert s.num_preemptions == 2


def test_nobody_is_displaced_for_a_place_that_would_still_be_too_small(make: Make) -> None:
    s = scheduler(blocks=4)
    s.add(make("interactive", prompt=4, limit=4))
    s.add(make("batch", prompt=4, limit=4, priority="batch"))
    advance(s.schedule())
    s.add(make("large", prompt=8, limit=8))
    assert [name for name, _, _ in advance(s.schedule())] == ["interactive", "batch"]
    assert s.num_preemptions == 0


def test_interactive_prompts_are_read_before_batch_ones_which_keep_a_share(make: Make) -> None:
    s = scheduler(chunk=16)
    s.add(make("batch", prompt=60, priority="batch"))
    assert advance(s.schedule()) == [("batch", 0, 16)]
    s.add(make("one", prompt=10))
    s.add(make("two", prompt=30))
    assert advance(s.schedule()) == [("one", 0, 10), ("two", 0, 4), ("batch", 16, 2)]
    assert advance(s.schedule()) == [("one", 10, 1), ("two", 4, 14), ("batch", 18, 2)]
    assert advance(s.schedule()) == [("one", 11, 1), ("two", 18, 12), ("batch", 20, 4)]


def test_the_share_of_batch_prompts_is_a_setting(make: Make) -> None:
    s = scheduler(chunk=16, batch_share=2)
    s.add(make("batch", prompt=60, priority="batch"))
    advance(s.schedule())
    s.add(make("one", prompt=30))
    assert advance(s.schedule()) == [("one", 0, 8), ("batch", 16, 8)]


def test_what_is_being_read_by_another_is_waited_for(make: Make) -> None:
    cache = FakeCache()
    cache.same |= {"a", "b"}
    s = scheduler(chunk=20, cache=cache)
    for name in ("a", "b", "c"):
        s.add(make(name, prompt=6))
    assert advance(s.schedule()) == [("a", 0, 6)]
    assert advance(s.schedule()) == [("a", 6, 1), ("b", 0, 6), ("c", 0, 6)]


def test_more_run_when_only_held_memory_counts_and_the_youngest_is_preempted(make: Make) -> None:
    s = scheduler(blocks=8, reserve="current")
    for name in ("a", "b", "c"):
        s.add(make(name, prompt=4, limit=16))
    assert [name for name, _, _ in advance(s.schedule())] == ["a", "b", "c"]  # 5 blocks each in the end
    seen = [[name for name, _, _ in advance(s.schedule())] for _ in range(8)]
    assert seen[0] == ["a", "b", "c"]
    assert seen[-1] == ["a", "b"]
    assert (s.num_preemptions, s.waiting) == (1, 1)
    s.remove("a")
    assert [count for name, _, count in advance(s.schedule()) if name == "c"] == [9]


def test_the_last_sequence_is_never_put_out(make: Make) -> None:
    s = scheduler(blocks=1, reserve="current")
    s.add(make("a", prompt=4, limit=16))
    assert all(len(advance(s.schedule())) == 1 for _ in range(16))
    assert s.num_preemptions == 0
