"""Which alignment points the contrastive loss sees (Eq. 7)."""

import torch
from torch import Tensor


def sample_points(
    labels: Tensor,
    is_hard: Tensor,
    num_points: int,
    progress: float | None,
    ignore_value: int,
    priorities: Tensor | None = None,
) -> Tensor:
    """Draw up to `num_points` points of every class that is present.

    Args:
        labels: (N,) class ids or `ignore_value`.
        is_hard: (N,) bool, whether the alignment is wrong at a point.
        num_points: |P|.
        progress: t / T in [0, 1]; ``round(progress * num_points)`` of a class's points are hard, the others easy, and
            where one kind runs short the other fills in. None draws at random.
        priorities: (N,) int64, no two alike: the lowest are drawn first. None: random.

    Returns:
        (M,) indices into the points, without repetition.
    """
    valid = (labels != ignore_value).nonzero().flatten()
    # Shuffled first, so that the stable sort below leaves each group in random order.
    order = torch.randperm(len(valid), device=labels.device) if priorities is None else priorities[valid].argsort()
    shuffled = valid[order]
    if progress is None:
        is_hard = torch.zeros_like(is_hard)
    group = labels[shuffled] * 2 + is_hard[shuffled]
    group, order = group.sort(stable=True)
    groups, counts = group.unique_consecutive(return_counts=True)
    ranks = torch.arange(len(group), device=labels.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    quota = _quotas(groups, counts, num_points, round((progress or 0.0) * num_points))
    return shuffled[order[ranks < quota.repeat_interleave(counts)]]


def _quotas(groups: Tensor, counts: Tensor, num_points: int, num_hard: int) -> Tensor:
    """Return how many points each group may give; groups are 2 * class + (1 if hard), present ones only, sorted."""
    classes, index = (groups // 2).unique_consecutive(return_inverse=True)
    available = counts.new_zeros(len(classes), 2)
    available[index, groups % 2] = counts
    easy, hard = available.unbind(1)
    take_hard = torch.minimum(hard, (num_points - easy).clamp(min=num_hard))
    take_easy = torch.minimum(easy, num_points - take_hard)
    return torch.stack([take_easy, take_hard], dim=1)[index, groups % 2]
