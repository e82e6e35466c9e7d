from pandagpt_core.types import Modality
from service.worker.encoding.encode_stage import Batcher


def test_a_medium_alone_goes_at_once() -> None:
    batches = Batcher(size=8)
    batches.add(Modality.IMAGE, "a")
    assert batches.take() == (Modality.IMAGE, ["a"])
    assert batches.take() is None


def test_what_came_together_goes_together_as_far_as_a_batch_goes() -> None:
    batches = Batcher(size=2)
    for name in ("a", "b", "c"):
        batches.add(Modality.IMAGE, name)
    assert batches.take() == (Modality.IMAGE, ["a", "b"])
    assert batches.take() == (Modality.IMAGE, ["c"])
    assert len(batches) == 0


def test_the_batch_that_waited_longest_goes_first_and_modalities_never_mix() -> None:
    batches = Batcher(size=8)
    batches.add(Modality.VIDEO, "old")
    batches.add(Modality.AUDIO, "new")
    batches.add(Modality.VIDEO, "newest")
    assert batches.take() == (Modality.VIDEO, ["old", "newest"])
    assert batches.take() == (Modality.AUDIO, ["new"])


def test_a_name_waits_once_and_keeps_its_place() -> None:
    batches = Batcher(size=8)
    for name in ("a", "b", "a"):
        batches.add(Modality.IMAGE, name)
    assert batches.take() == (Modality.IMAGE, ["a", "b"])


def test_a_busy_modality_gathers_and_holds_no_other_back() -> None:
    batches = Batcher(size=2)
    for name in ("a", "b", "c"):
        batches.add(Modality.VIDEO, name)
    batches.add(Modality.IMAGE, "d")
    assert batches.take(busy={Modality.VIDEO}) == (Modality.IMAGE, ["d"])
    assert batches.take(busy={Modality.VIDEO}) is None
    assert batches.take() == (Modality.VIDEO, ["a", "b"])
