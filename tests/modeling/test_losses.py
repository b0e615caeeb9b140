"""Eq. 6, 7 and 9 by what they mean: loops from the paper, limits, hand-computed numbers, properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.modeling.losses import ContrastiveLoss, WeightedPixelLoss, pixel_cross_entropy
from icpc_d2.modeling.losses.contrastive import info_nce
from icpc_d2.modeling.losses.sampling import sample_points

IGNORE = 255


def loop_info_nce(points: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """Eq. 6, one point, one positive and one negative at a time."""
    losses = []
    for i, p in enumerate(points):
        positives = [q for j, q in enumerate(points) if j != i and classes[j] == classes[i]]
        negatives = sum(torch.exp(p @ q / temperature) for j, q in enumerate(points) if classes[j] != classes[i])
        if positives:
            terms = [
                -torch.log(torch.exp(p @ q / temperature) / (torch.exp(p @ q / temperature) + negatives))
                for q in positives
            ]
            losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses)


def test_info_nce_follows_eq_6() -> None:
    points = (torch.randn(14, 6).double() / 4).requires_grad_()
    classes = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 4, 4, 4])
    found, wanted = info_nce(points, classes, 0.1), loop_info_nce(points, classes, 0.1)
    torch.testing.assert_close(found, wanted.float())
    ours, loops = (torch.autograd.grad(loss, points)[0] for loss in (found, wanted))
    torch.testing.assert_close(ours, loops, atol=1e-5, rtol=1e-4)


def test_info_nce_by_hand() -> None:
    """Two equal points against one orthogonal: -log(e^10 / (e^10 + 1))."""
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    loss = info_nce(points, torch.tensor([0, 0, 1]), 0.1)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-10)), rel=1e-4)


@pytest.mark.parametrize(
    "classes", [[], [3], [0, 1, 2], [1, 1, 1]], ids=["no point", "one point", "no positive", "no negative"]
)
def test_info_nce_is_zero_where_nothing_can_be_compared(classes: list[int]) -> None:
    points = torch.randn(len(classes), 4, requires_grad=True)
    loss = info_nce(points, torch.tensor(classes, dtype=torch.long), 0.1)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, points)
    assert gradient.abs().sum() == 0


def test_info_nce_survives_huge_scores_and_half_precision() -> None:
    points = (torch.randn(20, 8) * 300).half().requires_grad_()
    loss = info_nce(points, torch.arange(20) % 4, 0.1)
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert torch.autograd.grad(loss, points)[0].isfinite().all()


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.sampled_from([0, 1, 2, 7, IGNORE]), max_size=60),
    hard_share=st.floats(0, 1),
    num_points=st.integers(1, 8),
    progress=st.one_of(st.none(), st.floats(0, 1)),
)
def test_sampling_keeps_eq_7(labels: list[int], hard_share: float, num_points: int, progress: float | None) -> None:
    classes = torch.tensor(labels, dtype=torch.long)
    is_hard = torch.rand(len(labels)) < hard_share
    drawn = sample_points(classes, is_hard, num_points, progress, IGNORE)
    assert len(drawn.unique()) == len(drawn)
    assert not (classes[drawn] == IGNORE).any()
    for label in set(labels) - {IGNORE}:
        of_class = classes == label
        hard, easy = int((of_class & is_hard).sum()), int((of_class & ~is_hard).sum())
        mine = drawn[classes[drawn] == label]
        assert len(mine) == min(num_points, hard + easy)
        if progress is not None:
            wanted = round(progress * num_points)
            fair = min(hard, max(wanted, num_points - easy))
            assert int(is_hard[mine].sum()) == fair


def test_sampling_reaches_every_point() -> None:
    classes, is_hard = torch.zeros(20, dtype=torch.long), torch.arange(20) % 2 == 0
    seen = torch.cat([sample_points(classes, is_hard, 4, 0.5, IGNORE) for _ in range(100)])
    assert set(seen.tolist()) == set(range(20))


def test_easy_to_hard_turns_with_progress_and_random_does_not() -> None:
    """A is right in the left half only; what is drawn can be told from the gradient."""
    scores = torch.zeros(1, 2, 8, 8)
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, 4:] = 1
    scores[0, 0, :4], scores[0, 1, 4:] = 1, 1
    scores[..., 4:] = scores[..., 4:].flip(1)
    loss = ContrastiveLoss(5, 0.1, "easy_to_hard", False, IGNORE)

    def share_of_hard(module: ContrastiveLoss, progress: float) -> float:
        x = (scores + 0.1 * torch.rand_like(scores)).requires_grad_()
        (gradient,) = torch.autograd.grad(module(x, labels, progress), x)
        drawn = gradient.abs().sum(1) > 0
        return (drawn[..., 4:].sum() / drawn.sum()).item()

    assert share_of_hard(loss, 0.0) == 0
    assert share_of_hard(loss, 1.0) == 1
    assert share_of_hard(loss, 0.4) == pytest.approx(0.4)
    uniform = ContrastiveLoss(5, 0.1, "random", False, IGNORE)
    assert 0.2 < sum(share_of_hard(uniform, 1.0) for _ in range(40)) / 40 < 0.8


def test_contrastive_loss_falls_as_classes_separate() -> None:
    labels = torch.arange(4).repeat_interleave(16).view(1, 8, 8)
    perfect = F.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    loss = ContrastiveLoss(5, 0.1, "random", False, IGNORE)
    assert loss(perfect, labels, 0.0) < 0.01 < loss(torch.rand(1, 4, 8, 8), labels, 0.0)


def test_labels_come_to_the_scores_by_nearest_neighbour() -> None:
    labels = torch.tensor([[0, 1], [IGNORE, 1]]).repeat_interleave(4, 0).repeat_interleave(4, 1)[None]
    loss = ContrastiveLoss(50, 0.1, "random", False, IGNORE)
    scores = torch.rand(1, 2, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(scores, labels, 0.0), scores)
    assert gradient[0, :, 1, 0].abs().sum() == 0 and gradient[0, :, :, 1].abs().sum() > 0


def test_normalized_points_do_not_know_their_length() -> None:
    labels = torch.arange(4).repeat_interleave(16).view(1, 8, 8)
    scores = torch.rand(1, 4, 8, 8)
    normalized = ContrastiveLoss(64, 0.1, "random", True, IGNORE)
    torch.testing.assert_close(normalized(scores, labels, 0.0), normalized(3 * scores, labels, 0.0))


def test_unknown_sampling_is_refused() -> None:
    with pytest.raises(ValueError, match="easy_to_hard"):
        ContrastiveLoss(5, 0.1, "hard", False, IGNORE)


def test_pixel_cross_entropy_is_torchs_on_labelled_pixels() -> None:
    logits = torch.randn(2, 5, 4, 6, requires_grad=True)
    labels = torch.randint(5, (2, 16, 24))
    labels[0, :7] = IGNORE
    upsampled = F.interpolate(logits, size=(16, 24), mode="bilinear", align_corners=False)
    wanted = F.cross_entropy(upsampled, labels, ignore_index=IGNORE)
    found = pixel_cross_entropy(logits, labels, IGNORE)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


def test_pixel_cross_entropy_without_labels_is_zero() -> None:
    logits = torch.randn(1, 5, 4, 4, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((1, 8, 8), IGNORE), IGNORE)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].abs().sum() == 0


def test_class_weights_are_torchs() -> None:
    logits = torch.randn(2, 5, 4, 6, requires_grad=True)
    labels = torch.randint(5, (2, 16, 24))
    labels[0, :7] = IGNORE
    weights = torch.tensor([1.0, 0.01, 7.0, 0.0, 2.5])
    upsampled = F.interpolate(logits, size=(16, 24), mode="bilinear", align_corners=False)
    wanted = F.cross_entropy(upsampled, labels, weights, ignore_index=IGNORE)
    found = WeightedPixelLoss(pixel_cross_entropy, weights.tolist())(logits, labels, IGNORE)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits))


def test_class_weights_without_a_pixel_that_counts_are_zero_and_small_ones_divide() -> None:
    logits, labels = torch.randn(1, 3, 4, 4), torch.ones(1, 8, 8, dtype=torch.long)
    assert pixel_cross_entropy(logits, labels, IGNORE, torch.tensor([1.0, 0.0, 1.0])).item() == 0
    small = pixel_cross_entropy(logits, labels, IGNORE, torch.tensor([1.0, 1e-4, 1.0]))
    torch.testing.assert_close(small, pixel_cross_entropy(logits, labels, IGNORE))
