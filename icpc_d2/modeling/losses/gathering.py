"""The contrastive loss over a whole batch that is processed in parts, which are forward passes of any process.

However a batch is cut into parts, the same points are drawn from it: each point gets a random priority, seeded per
image, and the lowest are kept, so that no part has to send more points than could ever be drawn from it.

Shapes: N points, M of them candidates, B images, K classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from detectron2.utils import comm
from torch import Tensor, distributed

from icpc_d2.modeling.losses.contrastive import ContrastiveLoss, alignment_points
from icpc_d2.modeling.losses.sampling import sample_points


class Candidates(NamedTuple):
    """Points of a part of the batch that may be drawn, whatever the other parts hold."""

    points: Tensor  # (M, K), float32
    labels: Tensor  # (M,), class ids
    is_hard: Tensor  # (M,) bool
    priorities: Tensor  # (M,) int64, no two alike


class GatheredContrastiveLoss(ContrastiveLoss):
    """L_contrast whose mini-batch is the whole batch, of all processes and forward passes of a step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seeds: Sequence[int | None] = ()
        self._others: list[Sequence[Candidates]] = []

    @contextmanager
    def joined_with(self, seeds: Sequence[int | None], others: Sequence[Sequence[Candidates]] = ()) -> Iterator[None]:
        """Say what the forward pass inside belongs to.

        Args:
            seeds: a number for each of its B images, which decides on their points wherever they are processed; None:
                any.
            others: of each other forward pass of this step in this process, the :meth:`candidates` of its score maps,
                in the order in which the loss is called with the maps.
        """
        self._seeds, self._others = seeds, list(zip(*others, strict=True))
        try:
            yield
        finally:
            self._seeds, self._others = (), []

    def forward(self, scores: Tensor, labels: Tensor, progress: float) -> Tensor:
        """Compute the loss of one score map; arguments and result as of `ContrastiveLoss`."""
        others = self._others.pop(0) if self._others else ()
        points, labels, is_hard, priorities = gather([self.candidates(scores, labels, self._seeds), *others])
        return self.compare(points, labels, is_hard, progress, priorities)

    def candidates(self, scores: Tensor, labels: Tensor, seeds: Sequence[int | None] = ()) -> Candidates:
        """Return the points that may be drawn from one score map.

        Args:
            scores, labels: as of `forward`.
            seeds: as of :meth:`joined_with`; empty: any.
        """
        return find_candidates(
            *alignment_points(scores, labels), self.num_points, seeds or [None] * len(scores), self.ignore_value
        )


def find_candidates(
    points: Tensor, labels: Tensor, is_hard: Tensor, num_points: int, seeds: Sequence[int | None], ignore_value: int
) -> Candidates:
    """Keep the points of lowest priority: `num_points` of each class, of the easy and of the hard ones each.

    Args:
        points: (N, K), those of each image together.
        labels: (N,) class ids or `ignore_value`.
        is_hard: (N,) bool.
        num_points: |P|.
        seeds: of the images, each in [0, 2**63); None: any.
    """
    priorities = torch.cat([_draw_priorities(len(points) // len(seeds), seed) for seed in seeds]).to(points.device)
    kinds = (2 * labels + is_hard).where(labels != ignore_value, -1)
    kept = sample_points(kinds, is_hard, num_points, progress=None, ignore_value=-1, priorities=priorities)
    return Candidates(points[kept].float(), labels[kept], is_hard[kept], priorities[kept])


def gather(parts: Sequence[Candidates]) -> Candidates:
    """Join the candidates of all parts of the batch.

    The loss of the joined candidates is the same in each part, and the mean over parts of its gradients is that of one
    forward pass over the whole batch. No process has to send a gradient to another for that.

    Args:
        parts: of this process: first that of the present forward pass, whose points alone have a gradient.
    """
    num_parts = len(parts) * comm.get_world_size()
    if num_parts > 1 and parts[0].points.requires_grad:
        # The gradient of these points is found in this part alone, but counts as one of `num_parts` in the mean.
        parts[0].points.register_hook(lambda gradient: gradient * num_parts)
    joined = Candidates(*map(torch.cat, zip(*parts, strict=True)))
    if comm.get_world_size() == 1:
        return joined
    count = torch.tensor([len(joined.labels)], device=joined.labels.device)
    counts = [torch.empty_like(count) for _ in range(comm.get_world_size())]
    distributed.all_gather(counts, count)
    counts = torch.cat(counts).tolist()
    return Candidates(*(_all_gather(rows, counts) for rows in joined))


def _draw_priorities(count: int, seed: int | None) -> Tensor:
    """Draw on the CPU, so that they do not depend on the device, with 62 bits, so that no two are alike."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randint(2**62, (count,), generator=generator)


def _all_gather(rows: Tensor, counts: list[int]) -> Tensor:
    """Join the rows of all processes in the order of their ranks; this one's own keep their gradient."""
    padded = rows.new_zeros(max(*counts, 1), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    gathered = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(gathered, padded)
    gathered = [part[:count] for part, count in zip(gathered, counts, strict=True)]
    gathered[comm.get_rank()] = rows
    return torch.cat(gathered)
