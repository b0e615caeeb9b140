"""The outputs that the three image encoders have in common."""

from collections.abc import Sequence

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

LEVELS = ("res2", "res3", "res4", "res5")


class ImageEncoder(Backbone):
    """Reports the outputs that a subclass has chosen by :meth:`choose_outputs`."""

    any_size = True  # from 32 pixels on; maps of sides that are no multiples of 32 are rounded

    def choose_outputs(
        self, out_features: Sequence[str], channels: Sequence[int], embed_channels: int, embed_stride: int
    ) -> None:
        """Keep the shapes of the outputs that are asked for.

        Args:
            channels: of res2..res5, whose strides are 4, 8, 16, 32.
            embed_channels: C of ``global_embed`` and ``dense_embed``; the stride is that of the latter.

        Raises:
            ValueError: for a name that the encoder does not have.
        """
        shapes = {
            name: ShapeSpec(channels=c, stride=4 * 2**i)
            for i, (name, c) in enumerate(zip(LEVELS, channels, strict=True))
        }
        shapes["global_embed"] = ShapeSpec(channels=embed_channels)
        shapes["dense_embed"] = ShapeSpec(channels=embed_channels, stride=embed_stride)
        unknown = [name for name in out_features if name not in shapes]
        if unknown:
            raise ValueError(f"MODEL.CLIP.OUT_FEATURES has {unknown}; this image encoder has {list(shapes)}")
        self._shapes = {name: shapes[name] for name in out_features}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of each output; ``global_embed`` has no stride."""
        return dict(self._shapes)

    @property
    def size_divisibility(self) -> int:
        """Images of a training are padded to multiples of this."""
        return 32


def wants_embeddings(out_features: Sequence[str]) -> bool:
    """Tell whether an output needs the layers that lead to the joint embedding space."""
    return not {"global_embed", "dense_embed"}.isdisjoint(out_features)
