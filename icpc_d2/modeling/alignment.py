"""Score maps of image and text embeddings (Eq. 5) at up to four scales (Eq. 8).

Shapes: B images, K classes, C joint embedding width, h x w positions of the dense embedding.
Levels are named as the backbone's: res2, res3, res4, res5 at strides 4, 8, 16, 32.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.fast.folding import Step, Steps


class Up(nn.Sequential):
    """Up-sampling by 2, 4 or 8: one to three transposed convolutions of kernel and stride 2, nothing between them."""

    def __init__(self, channels: int, factor: int, init: str) -> None:
        """
        Args:
            channels: in, between and out.
            factor: 2, 4 or 8.
            init: "identity" makes it nearest-neighbour up-sampling at first, "random" leaves PyTorch's start values.
        """
        steps = [
            nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2) for _ in range(factor.bit_length() - 1)
        ]
        super().__init__(*steps)
        if init == "identity":
            for step in steps:
                nn.init.zeros_(step.bias)
                with torch.no_grad():
                    step.weight.copy_(torch.eye(channels)[:, :, None, None].expand_as(step.weight))


class ScoreMaps(Mapping[str, Tensor]):
    """The maps A by level; those that are sums of up-sampled others are computed when first asked for."""

    def __init__(self, cosines: dict[str, Tensor], terms: dict[str, list[tuple[str, Up]]]) -> None:
        """
        Args:
            cosines: level -> (B, K, H / stride, W / stride), in [-1, 1].
            terms: level -> the (level, up-sampling) pairs whose sum it is.
        """
        self.computed = dict(cosines)
        self.terms = terms
        self._partial: dict[tuple[str, Steps], Tensor] = {}

    def __getitem__(self, level: str) -> Tensor:
        if level not in self.computed:
            self.computed[level] = sum(self.partial(source, tuple(map(Step, up))) for source, up in self.terms[level])
        return self.computed[level]

    def partial(self, source: str, steps: Steps) -> Tensor:
        """Run up-sampling steps on the map of a level; chains that begin alike share the work."""
        if not steps:
            return self[source]
        if (source, steps) not in self._partial:
            self._partial[source, steps] = steps[-1](self.partial(source, steps[:-1]))
        return self._partial[source, steps]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self.computed, *self.terms])

    def __len__(self) -> int:
        return len(list(iter(self)))


def cosine_scores(dense_embed: Tensor, text: Tensor) -> Tensor:
    """Eq. 5 with both sides L2-normalized: (B, C, h, w) and (B, K, C) -> cosines (B, K, h, w)."""
    scores = F.normalize(text, dim=2) @ F.normalize(dense_embed.flatten(2), dim=1)
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

    def forward(self, dense_embed: Tensor, text: Tensor) -> ScoreMaps:
        """(B, C, h, w) and (B, K, C) -> one map."""
        return ScoreMaps({self.coarsest: cosine_scores(dense_embed, text)}, {})


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

    def forward(self, dense_embed: Tensor, text: Tensor) -> ScoreMaps:
        """(B, C, h, w) and (B, K, C) -> the maps at four strides."""
        if self.up_embed is None:
            at_16, at_32 = dense_embed, F.max_pool2d(dense_embed, 2)
        else:
            at_16, at_32 = self.up_embed(dense_embed), dense_embed
        cosines = {"res5": cosine_scores(at_32, text), "res4": cosine_scores(at_16, text)}
        terms = {
            "res3": [("res5", self.up_32_to_8), ("res4", self.up_16_to_8)],
            "res2": [("res5", self.up_32_to_4), ("res4", self.up_16_to_4), ("res3", self.up_8_to_4)],
        }
        return ScoreMaps(cosines, terms)
