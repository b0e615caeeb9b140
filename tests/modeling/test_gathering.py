"""The gathered contrastive loss: whatever parts a batch is cut into, it draws the same points and has one gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from icpc_d2.modeling.losses import Candidates, GatheredContrastiveLoss
from icpc_d2.modeling.losses.gathering import find_candidates, gather
from icpc_d2.modeling.losses.sampling import sample_points

IGNORE = 255
SEEDS = [3, 1, 4, 15]  # of four images


def drawn(parts: list[Candidates], num_points: int, progress: float | None) -> list[float]:
    """The first coordinate of the points that are drawn from all parts, in their order."""
    points, labels, is_hard, priorities = gather(parts)
    return points[sample_points(labels, is_hard, num_points, progress, IGNORE, priorities), 0].tolist()


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.sampled_from([0, 1, 2, 127, IGNORE]), min_size=4, max_size=60),
    hard_share=st.floats(0, 1),
    num_points=st.integers(1, 8),
    progress=st.one_of(st.none(), st.floats(0, 1)),
)
def test_the_same_points_are_drawn_from_any_parts(
    labels: list[int], hard_share: float, num_points: int, progress: float | None
) -> None:
    size = len(labels) // 4
    classes = torch.tensor(labels[: 4 * size])
    is_hard = torch.rand(len(classes)) < hard_share
    points = torch.arange(len(classes))[:, None].float()

    def candidates(first: int, last: int, kept: int = num_points) -> Candidates:
        cut = slice(first * size, last * size)
        return find_candidates(points[cut], classes[cut], is_hard[cut], kept, SEEDS[first:last], IGNORE)

    everything = drawn([candidates(0, 4, kept=len(classes))], num_points, progress)
    for parts in ([(0, 4)], [(0, 2), (2, 4)], [(3, 4), (1, 2), (0, 1), (2, 3)], [(2, 4), (0, 2)]):
        assert drawn([candidates(*part) for part in parts], num_points, progress) == everything


def batch() -> tuple[Tensor, Tensor]:
    """Score maps (4, 5, 6, 6) and labels (4, 24, 24) of five classes and some ignored pixels."""
    labels = torch.randint(6, (4, 6, 6)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    return torch.rand(4, 5, 6, 6), torch.where(labels == 5, IGNORE, labels)


def joined(
    loss: GatheredContrastiveLoss,
    scores: Tensor,
    labels: Tensor,
    progress: float,
    seeds: list[int | None],
    others: list[Candidates] = (),
) -> Tensor:
    """The loss of one score map of a part, beside one map of each of the other parts."""
    with loss.joined_with(seeds, [[other] for other in others]):
        return loss(scores, labels, progress)


@pytest.mark.parametrize("normalize", [False, True])
def test_parts_add_up_to_the_whole(normalize: bool) -> None:
    scores, labels = batch()
    loss = GatheredContrastiveLoss(5, 0.1, "easy_to_hard", normalize, IGNORE)
    whole = scores.clone().requires_grad_()
    wanted = joined(loss, whole, labels, 0.6, SEEDS)
    wanted.backward()

    parts = [slice(0, 1), slice(1, 3), slice(3, 4)]
    candidates = [loss.candidates(scores[part], labels[part], SEEDS[part]) for part in parts]
    gradients = []
    for index, part in enumerate(parts):
        mine = scores[part].clone().requires_grad_()
        found = joined(loss, mine, labels[part], 0.6, SEEDS[part], candidates[:index] + candidates[index + 1 :])
        torch.testing.assert_close(found, wanted)
        found.backward()
        gradients.append(mine.grad / len(parts))
    torch.testing.assert_close(torch.cat(gradients), whole.grad)
    assert whole.grad.abs().sum() > 0


def test_seeds_decide_on_the_points() -> None:
    scores, labels = batch()
    loss = GatheredContrastiveLoss(2, 0.1, "random", False, IGNORE)
    assert joined(loss, scores, labels, 0.0, SEEDS) == joined(loss, scores, labels, 0.0, SEEDS)
    assert joined(loss, scores, labels, 0.0, SEEDS) != joined(loss, scores, labels, 0.0, [0, 1, 2, 3])
    assert joined(loss, scores, labels, 0.0, [None] * 4) != joined(loss, scores, labels, 0.0, [None] * 4)


def test_a_part_without_labels_still_has_a_gradient() -> None:
    scores, labels = batch()
    loss = GatheredContrastiveLoss(5, 0.1, "random", False, IGNORE)
    others = [loss.candidates(scores, labels, SEEDS)]
    mine = scores[:1].clone().requires_grad_()
    found = joined(loss, mine, torch.full_like(labels[:1], IGNORE), 0.0, [9], others)
    found.backward()
    assert found > 0
    assert mine.grad.abs().sum() == 0


def test_no_more_points_are_sent_than_could_be_drawn() -> None:
    classes = torch.arange(300) % 3
    is_hard = torch.arange(300) % 2 == 0
    found = find_candidates(torch.rand(300, 3), classes, is_hard, 5, [0], IGNORE)
    assert len(found.labels) == 3 * 2 * 5


def test_info_nce_stays_in_float32_under_mixed_precision() -> None:
    scores, labels = batch()
    loss = GatheredContrastiveLoss(50, 0.1, "random", False, IGNORE)
    wanted = joined(loss, scores, labels, 0.0, SEEDS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(joined(loss, scores, labels, 0.0, SEEDS), wanted)
