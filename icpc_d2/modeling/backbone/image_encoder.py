"""The outputs that the three image encoders have in common."""

from collections.abc import Mapping, Sequence

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

EMBEDDINGS = ("global_embed", "dense_embed")


def wants_embeddings(out_features: Sequence[str]) -> bool:
    """Whether an output needs the layers that lead to the joint embedding space."""
    return any(name in EMBEDDINGS for name in out_features)


def check_outputs(shapes: Mapping[str, ShapeSpec], out_features: Sequence[str]) -> dict[str, ShapeSpec]:
    """Select the shapes of the outputs that are asked for.

    Raises:
        ValueError: for a name that the encoder does not have.
    """
    unknown = [name for name in out_features if name not in shapes]
    if unknown:
        raise ValueError(f"MODEL.CLIP.OUT_FEATURES has {unknown}; this image encoder has {list(shapes)}")
    return {name: shapes[name] for name in out_features}


class ImageEncoder(Backbone):
    """Reports its outputs, which a subclass selects into ``_shapes`` with :func:`check_outputs`."""

    _shapes: dict[str, ShapeSpec]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each output; ``global_embed`` has no stride."""
        return dict(self._shapes)

    @property
    def size_divisibility(self) -> int:
        """Images are padded to multiples of this."""
        return 32
