"""Maps that meet are brought to one size.

Every layer of the image encoders rounds down, so that an image whose sides are no multiples of 32 leaves maps that are
not twice as large from level to level. As DenseCLIP's, they are then interpolated to the map that they join.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def resize_to(x: Tensor, size: Sequence[int], mode: str = "bilinear") -> Tensor:
    """Return maps (B, channels, h, w) at another size; those that have it as they are.

    Args:
        size: height and width.
        mode: "bilinear" or "nearest".
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode=mode, align_corners=None if mode == "nearest" else False)
