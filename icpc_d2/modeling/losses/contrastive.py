"""The align-guided contrastive loss (Eq. 6)."""

import torch
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.losses.sampling import sample_points


def info_nce(points: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """Compare points by InfoNCE: those of the same class attract, those of other classes repel.

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

    def __init__(self, num_points: int, temperature: float, sampling: str, normalize: bool, ignore_value: int) -> None:
        """
        Args:
            num_points: |P| of each class.
            temperature: tau.
            sampling: "easy_to_hard" (Eq. 7) or "random".
            normalize: whether points are L2-normalized first; Eq. 6 takes them as they are.
            ignore_value: label of pixels that have no class.

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

    def forward(self, scores: Tensor, labels: Tensor, progress: float) -> Tensor:
        """Compute the loss of one score map.

        Args:
            scores: A, (B, K, h, w).
            labels: (B, H, W), class ids or `ignore_value`; brought to (h, w) by nearest neighbour.
            progress: t / T in [0, 1].

        Returns:
            A scalar that always depends on `scores`, though by a zero gradient where nothing can be compared.
        """
        return self.compare(*alignment_points(scores, labels), progress)

    def compare(
        self, points: Tensor, labels: Tensor, is_hard: Tensor, progress: float, priorities: Tensor | None = None
    ) -> Tensor:
        """Draw points by Eq. 7 and compare them by Eq. 6; see :func:`sample_points`."""
        progress_or_none = progress if self.sampling == "easy_to_hard" else None
        drawn = sample_points(labels, is_hard, self.num_points, progress_or_none, self.ignore_value, priorities)
        if has_event_storage() and len(drawn):
            get_event_storage().put_scalar("hard_points", is_hard[drawn].float().mean())
        points = points[drawn]
        if self.normalize:
            points = F.normalize(points, dim=1)
        return info_nce(points, labels[drawn], self.temperature)


def alignment_points(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flatten a score map (B, K, h, w) and labels (B, H, W).

    Returns:
        The N = B * h * w points (N, K), their labels (N,), and whether each is hard (N,): A's argmax is wrong there.
    """
    labels = F.interpolate(labels[:, None].float(), size=scores.shape[-2:], mode="nearest").long().flatten()
    points = scores.permute(0, 2, 3, 1).flatten(0, 2)
    return points, labels, points.detach().argmax(dim=1) != labels
