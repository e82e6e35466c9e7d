"""Fusion: the parts of a soft token."""

import torch

from pandagpt_core.fusion import Projection, PrototypeRetrieval, compose, counted
from pandagpt_core.types import MediaUse, Modality

PROJECTION = Projection(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), torch.ones(5))
EMBEDDINGS = torch.randn(2, 3, generator=torch.Generator().manual_seed(2))


def use(modality: Modality, digest: str, turn: int, weight: float = 1.0) -> MediaUse:
    return MediaUse(modality, digest, turn, weight)


def test_weights_of_one_sum_projected_vectors_with_a_bias_for_each_medium() -> None:
    soft = compose(PROJECTION, EMBEDDINGS, (1.0, 1.0))
    by_hand = sum(PROJECTION.weight @ embedding + PROJECTION.bias for embedding in EMBEDDINGS)
    torch.testing.assert_close(soft, by_hand)


def test_a_weight_scales_its_mediums_vector_bias_included() -> None:
    torch.testing.assert_close(compose(PROJECTION, EMBEDDINGS[:1], (0.25,)), 0.25 * PROJECTION(EMBEDDINGS[:1])[0])


def test_a_weight_of_zero_leaves_its_medium_out() -> None:
    torch.testing.assert_close(compose(PROJECTION, EMBEDDINGS, (1.0, 0.0)), PROJECTION(EMBEDDINGS[:1])[0])


def test_several_parts_of_one_modality_are_summed_like_any_other() -> None:
    twice = compose(PROJECTION, EMBEDDINGS[[0, 0]], (0.5, 0.5))
    torch.testing.assert_close(twice, PROJECTION(EMBEDDINGS[:1])[0])


def test_a_medium_sent_again_in_a_later_turn_counts_once_with_its_latest_weight() -> None:
    media = (use(Modality.IMAGE, "a", 0), use(Modality.AUDIO, "b", 0), use(Modality.IMAGE, "a", 2, 0.5))
    assert counted(media) == [1, 2]


def test_equal_parts_of_one_turn_all_count() -> None:
    assert counted((use(Modality.IMAGE, "a", 0), use(Modality.IMAGE, "a", 0))) == [0, 1]


def test_the_same_bytes_as_another_modality_are_another_medium() -> None:
    assert counted((use(Modality.IMAGE, "a", 0), use(Modality.THERMAL, "a", 2))) == [0, 1]


KNOWN = torch.eye(3)[:2]  # two known directions of three


def test_recall_gives_the_nearest_direction_when_it_chooses_sharply() -> None:
    noisy = torch.tensor([[0.9, 0.5, 0.4], [0.2, 0.3, -0.8]])
    torch.testing.assert_close(PrototypeRetrieval(KNOWN, 500.0)(noisy), KNOWN, atol=1e-4, rtol=0)


def test_recall_shares_sum_to_one_and_follow_the_likeness() -> None:
    shares = PrototypeRetrieval(KNOWN, 4.0).shares(torch.tensor([[0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]))
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(2))
    torch.testing.assert_close(shares[0, 0] / shares[0, 1], torch.tensor(4.0 * 0.2).exp())
    torch.testing.assert_close(shares[1], torch.tensor([0.5, 0.5]))


def test_recall_reads_a_direction_whatever_its_length() -> None:
    torch.testing.assert_close(
        PrototypeRetrieval(KNOWN, 7.0)(5 * EMBEDDINGS), PrototypeRetrieval(KNOWN, 7.0)(EMBEDDINGS)
    )


def test_what_is_near_no_known_direction_comes_out_shorter() -> None:
    sure, unsure = PrototypeRetrieval(KNOWN, 7.0)(torch.tensor([[1.0, 0.0, 0.0], [0.1, 0.1, 1.0]])).norm(dim=-1)
    assert sure > 0.99 > 0.75 > unsure


def test_a_projection_with_a_recall_projects_what_is_recalled_of_each_medium() -> None:
    recall = PrototypeRetrieval(KNOWN, 7.0)
    soft = compose(Projection(PROJECTION.weight, PROJECTION.bias, recall), EMBEDDINGS, (1.0, 0.5))
    torch.testing.assert_close(soft, compose(PROJECTION, recall(EMBEDDINGS), (1.0, 0.5)))
