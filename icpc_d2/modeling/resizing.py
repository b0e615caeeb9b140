"""Maps that meet are brought to one size.

Every layer of the image encoders rounds down, so that an image whose sides are no multiples of 32 leaves maps that are
not twice as large from level to level. As DenseCLIP's, they are then interpolated to the map that they join.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional as F


def may_differ(size: Sequence[int], other: Sequence[int]) -> bool:
    """Tell whether two sizes differ, or may do so for some images where `torch.export` leaves their sides open."""
    pairs = list(zip(size, other, strict=True))
    if any(isinstance(side, torch.SymInt) for pair in pairs for side in pair):
        return not all(statically_known_true(a == b) for a, b in pairs)
    return any(a != b for a, b in pairs)


def resize_to(x: Tensor, size: Sequence[int], mode: str = "bilinear") -> Tensor:
    """Return maps (B, channels, h, w) at another size; those that have it as they are.

    Args:
        size: height and width.
        mode: "bilinear" or "nearest".
    """
    if not may_differ(x.shape[2:], size):
        return x
    return F.interpolate(x, size=tuple(size), mode=mode, align_corners=None if mode == "nearest" else False)
