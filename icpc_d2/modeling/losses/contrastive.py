"""The align-guided contrastive loss (Eq. 6)."""

from collections.abc import Sequence

import torch
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.losses.gathering import Candidates, find_candidates, gather
from icpc_d2.modeling.losses.sampling import sample_points


def info_nce(points: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """InfoNCE among points: those of the same class attract, those of other classes repel.

    Args:
        points: (M, K), alignment points p.
        classes: (M,) class ids.
        temperature: tau.

    Returns:
        A scalar, the mean over positives and then over the points that have one. Zero without any positive, and where
        no other class is present. In float32.
    """
    same = classes[:, None] == classes[None]
    positive = same & ~torch.eye(len(points), dtype=torch.bool, device=points.device)
    with torch.autocast(points.device.type, enabled=False):
        similarity = points.float() @ points.float().T / temperature
    # A finite floor: the gradient of log-sum-exp over nothing but -inf would be NaN.
    negatives = similarity.masked_fill(same, torch.finfo(similarity.dtype).min).logsumexp(dim=1, keepdim=True)
    losses = torch.where(positive, F.softplus(negatives - similarity), 0.0)
    num_positives = positive.sum(dim=1)
    per_point = losses.sum(dim=1) / num_positives.clamp(min=1)
    return per_point.sum() / (num_positives > 0).sum().clamp(min=1)


class ContrastiveLoss(nn.Module):
    """L_contrast: draws alignment points of the mini-batch and compares them with :func:`info_nce`."""

    def __init__(
        self,
        num_points: int,
        temperature: float,
        sampling: str,
        normalize: bool,
        ignore_value: int,
        gather: bool = False,
    ) -> None:
        """
        Args:
            num_points: |P| of each class.
            temperature: tau.
            sampling: "easy_to_hard" (Eq. 7) or "random".
            normalize: whether points are L2-normalized first; Eq. 6 takes them as they are.
            ignore_value: label of pixels that have no class.
            gather: whether the mini-batch is the whole batch, of all processes and forward passes of a step, instead
                of the images of one forward pass.

        Raises:
            ValueError: for another `sampling`.
        """
        super().__init__()
        if sampling not in ("easy_to_hard", "random"):
            raise ValueError(f"MODEL.CONTRASTIVE.SAMPLING is {sampling!r}; wanted is 'easy_to_hard' or 'random'")
        self.num_points = num_points
        self.temperature = temperature
        self.sampling = sampling
        self.normalize = normalize
        self.ignore_value = ignore_value
        self.gather = gather

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,
        progress: float,
        seeds: Sequence[int | None] = (),
        others: Sequence[Candidates] = (),
    ) -> Tensor:
        """Compute the loss of one score map.

        Args:
            scores: A, (B, K, h, w).
            labels: (B, H, W), class ids or `ignore_value`; brought to (h, w) by nearest neighbour.
            progress: t / T in [0, 1].
            seeds, others: with `gather`, see :meth:`candidates`, and what that has given for the other forward passes
                of this step.

        Returns:
            A scalar that always depends on `scores`, though by a zero gradient where nothing can be compared.
        """
        if self.gather:
            points, labels, is_hard, lots = gather([self.candidates(scores, labels, seeds), *others])
        else:
            (points, labels, is_hard), lots = _points(scores, labels), None
        progress_or_none = progress if self.sampling == "easy_to_hard" else None
        drawn = sample_points(labels, is_hard, self.num_points, progress_or_none, self.ignore_value, lots)
        if has_event_storage() and len(drawn):
            get_event_storage().put_scalar("hard_points", is_hard[drawn].float().mean())
        points = points[drawn]
        if self.normalize:
            points = F.normalize(points, dim=1)
        return info_nce(points, labels[drawn], self.temperature)

    def candidates(self, scores: Tensor, labels: Tensor, seeds: Sequence[int | None]) -> Candidates:
        """The points that may be drawn from one score map.

        Args:
            scores, labels: as of `forward`.
            seeds: a number for each of the B images, which decides on its points wherever it is processed; None: any.
        """
        points, labels, is_hard = _points(scores, labels)
        return find_candidates(points, labels, is_hard, self.num_points, seeds, self.ignore_value)


def _points(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (B, K, h, w) and labels (B, H, W) -> points (N, K), their labels (N,), whether each is hard (N,)."""
    labels = F.interpolate(labels[:, None].float(), size=scores.shape[-2:], mode="nearest").long().flatten()
    points = scores.permute(0, 2, 3, 1).flatten(0, 2)
    return points, labels, points.detach().argmax(dim=1) != labels
