"""Score maps of image and text embeddings (Eq. 5) at up to four scales (Eq. 8).

Shapes: B images, K classes, C joint embedding width, h x w positions of the dense embedding.
Levels are named as the backbone's: res2, res3, res4, res5 at strides 4, 8, 16, 32.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.resizing import resize_to


class Up(nn.Sequential):
    """Up-sampling by 2, 4 or 8: one to three transposed convolutions of kernel and stride 2, nothing between them."""

    def __init__(self, channels: int, factor: int, init: str) -> None:
        """
        Args:
            channels: in, between and out.
            factor: 2, 4 or 8.
            init: "identity" makes it nearest-neighbour up-sampling at first, "random" leaves PyTorch's start values.
        """
        if init not in ("identity", "random"):
            raise ValueError(f"MODEL.ALIGNMENT.INIT is {init!r}; wanted is 'identity' or 'random'")
        steps = [
            nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2) for _ in range(factor.bit_length() - 1)
        ]
        super().__init__(*steps)
        if init == "identity":
            for step in steps:
                nn.init.zeros_(step.bias)
                with torch.no_grad():
                    step.weight.copy_(torch.eye(channels)[:, :, None, None].expand_as(step.weight))


def cosine_scores(dense_embed: Tensor, text: Tensor) -> Tensor:
    """Compare by Eq. 5, both sides L2-normalized: (B, C, h, w) and (B, K, C) -> cosines (B, K, h, w)."""
    return _compare(dense_embed, F.normalize(text, dim=2))


def _compare(dense_embed: Tensor, normalized_text: Tensor) -> Tensor:
    """Compare with a text that is normalized already, once for all maps."""
    scores = normalized_text @ F.normalize(dense_embed.flatten(2), dim=1)
    return scores.unflatten(2, dense_embed.shape[2:])


class SingleScaleAlignment(nn.Module):
    """The score map at the dense embedding's own stride alone, as in DenseCLIP."""

    def __init__(self, level: str) -> None:
        """
        Args:
            level: whose stride the dense embedding has.
        """
        super().__init__()
        self.levels = (level,)
        self.coarsest = level

    def cosines(self, dense_embed: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Compute the one map (B, K, h, w) from (B, C, h, w) and (B, K, C), for any classes."""
        return {self.coarsest: cosine_scores(dense_embed, text)}

    forward = cosines


class MultiScaleAlignment(nn.Module):
    """Eq. 8: cosines at strides 32 and 16, and two finer maps that are up-sampled from them."""

    levels = ("res2", "res3", "res4", "res5")
    coarsest = "res5"

    def __init__(self, level: str, channels: int, num_classes: int, init: str) -> None:
        """
        Args:
            level: whose stride the dense embedding has: "res5" (ResNet), or "res4" (ViT), which is then pooled to
                stride 32 instead of up-sampled to 16.
            channels: C.
            num_classes: K.
            init: of the transposed convolutions, see :class:`Up`.
        """
        super().__init__()
        # Eq. 8 writes one Up per factor; each of its uses has weights of its own.
        self.up_embed = Up(channels, 2, init) if level == "res5" else None
        self.up_32_to_8 = Up(num_classes, 4, init)
        self.up_16_to_8 = Up(num_classes, 2, init)
        self.up_32_to_4 = Up(num_classes, 8, init)
        self.up_16_to_4 = Up(num_classes, 4, init)
        self.up_8_to_4 = Up(num_classes, 2, init)

    def cosines(self, dense_embed: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Compute the maps at strides 32 and 16 from (B, C, h, w) and (B, K, C), for any classes."""
        if self.up_embed is None:
            at_16, at_32 = dense_embed, F.max_pool2d(dense_embed, 2)
        else:
            at_16, at_32 = self.up_embed(dense_embed), dense_embed
        text = F.normalize(text, dim=2)
        return {"res5": _compare(at_32, text), "res4": _compare(at_16, text)}

    def forward(self, dense_embed: Tensor, text: Tensor) -> dict[str, Tensor]:
        """Compute the four maps A, (B, K, H / stride, W / stride), from (B, C, h, w) and (B, K, C)."""
        a_32, a_16 = self.cosines(dense_embed, text).values()
        # Where a ViT's tokens are odd in number, pooling to stride 32 has rounded down.
        at_8, at_4 = self.up_16_to_8(a_16), self.up_16_to_4(a_16)
        a_8 = resize_to(self.up_32_to_8(a_32), at_8.shape[2:]) + at_8
        a_4 = resize_to(self.up_32_to_4(a_32), at_4.shape[2:]) + at_4 + self.up_8_to_4(a_8)
        return {"res2": a_4, "res3": a_8, "res4": a_16, "res5": a_32}
