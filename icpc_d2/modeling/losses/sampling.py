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
    # Shuffled first, so that the stable sort below leaves each group in random order. All sizes are those of the input
    # until the last line, so that a GPU is waited for once.
    shuffled = torch.randperm(len(labels), device=labels.device) if priorities is None else priorities.argsort()
    hard_first = torch.zeros_like(labels) if progress is None else is_hard.long()
    # Groups are 2 * class + (1 if hard); what has no class comes last, and is drawn from never.
    nothing = torch.iinfo(torch.int64).max
    group = torch.where(labels != ignore_value, 2 * labels + hard_first, nothing)[shuffled]
    group, order = group.sort(stable=True)
    classes = group.div(2, rounding_mode="floor")
    starts = torch.searchsorted(group, group)
    middle, end = (torch.searchsorted(group, 2 * classes + more) for more in (1, 2))
    easy, hard = middle - torch.searchsorted(group, 2 * classes), end - middle
    num_hard = round((progress or 0.0) * num_points)
    take_hard = torch.minimum(hard, (num_points - easy).clamp(min=num_hard))
    quota = torch.where(group % 2 == 1, take_hard, torch.minimum(easy, num_points - take_hard))
    ranks = torch.arange(len(group), device=group.device) - starts
    return shuffled[order[(ranks < quota) & (group != nothing)]]
