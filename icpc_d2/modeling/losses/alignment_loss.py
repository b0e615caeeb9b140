"""The two terms of Eq. 9 that supervise the score maps themselves."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from icpc_d2.modeling.losses.contrastive import ContrastiveLoss


class AlignmentLoss(nn.Module):
    """L_align and L_contrast, weighted; each the mean over the levels that it supervises."""

    def __init__(
        self,
        levels: Sequence[str],
        weight: float,
        temperature: float,
        contrastive_loss: ContrastiveLoss | None,
        contrastive_weight: float,
        ignore_value: int,
        pixel_loss: Callable[[Tensor, Tensor, int], Tensor],
    ) -> None:
        """
        Args:
            levels: whose score maps are supervised.
            weight: of L_align.
            temperature: that cosines are divided by before a softmax.
            contrastive_loss: None leaves L_contrast out.
            contrastive_weight: gamma.
            ignore_value: label of pixels that have no class.
            pixel_loss: :func:`icpc_d2.modeling.losses.pixel_cross_entropy` or an equal.
        """
        super().__init__()
        self.levels = tuple(levels)
        self.weight = weight
        self.temperature = temperature
        self.contrastive_loss = contrastive_loss
        self.contrastive_weight = contrastive_weight
        self.ignore_value = ignore_value
        self.pixel_loss = pixel_loss

    def forward(self, maps: Sequence[Tensor], labels: Tensor, progress: float) -> dict[str, Tensor]:
        """Compute the losses by name.

        Args:
            maps: A of each of the levels, (B, K, h, w).
            labels: (B, H, W), class ids or the ignore value.
            progress: t / T of Eq. 7, in [0, 1].
        """
        align = sum(self.pixel_loss(scores / self.temperature, labels, self.ignore_value) for scores in maps)
        losses = {"loss_align": self.weight / len(maps) * align}
        if self.contrastive_loss is not None:
            contrast = sum(self.contrastive_loss(scores, labels, progress) for scores in maps)
            losses["loss_contrast"] = self.contrastive_weight / len(maps) * contrast
        return losses
