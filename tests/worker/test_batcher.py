from pandagpt_core.types import Modality
from service.worker.batcher import Batcher


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_full_batch_goes_at_once_and_the_rest_waits() -> None:
    clock = Clock()
    batches = Batcher(size=2, wait=0.005, clock=clock)
    for name in ("a", "b", "c"):
        batches.add(Modality.IMAGE, name)
    assert batches.take() == (Modality.IMAGE, ["a", "b"])
    assert batches.take() is None
    clock.now = 0.005
    assert batches.take() == (Modality.IMAGE, ["c"])
    assert len(batches) == 0


def test_the_batch_that_waited_longest_goes_first_and_modalities_never_mix() -> None:
    clock = Clock()
    batches = Batcher(size=8, wait=0.005, clock=clock)
    batches.add(Modality.AUDIO, "old")
    clock.now = 0.001
    batches.add(Modality.IMAGE, "new")
    assert batches.take() is None
    clock.now = 0.02
    assert batches.take() == (Modality.AUDIO, ["old"])
    assert batches.take() == (Modality.IMAGE, ["new"])


def test_a_name_waits_once_and_keeps_its_place() -> None:
    clock = Clock()
    batches = Batcher(size=8, wait=0.005, clock=clock)
    batches.add(Modality.IMAGE, "a")
    clock.now = 0.004
    batches.add(Modality.IMAGE, "b")
    batches.add(Modality.IMAGE, "a")
    clock.now = 0.005
    assert batches.take() == (Modality.IMAGE, ["a", "b"])


def test_a_busy_modality_gathers_and_holds_no_other_back() -> None:
    clock = Clock()
    batches = Batcher(size=2, wait=0.005, clock=clock)
    for name in ("a", "b", "c"):
        batches.add(Modality.VIDEO, name)
    batches.add(Modality.IMAGE, "d")
    clock.now = 0.005
    assert batches.take(busy={Modality.VIDEO}) == (Modality.IMAGE, ["d"])
    assert batches.take(busy={Modality.VIDEO}) is None
    assert not batches.ripening(busy={Modality.VIDEO})
    assert batches.ripening()
    assert batches.take() == (Modality.VIDEO, ["a", "b"])
