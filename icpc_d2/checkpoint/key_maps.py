"""Weights against the model that they are for: names, shapes, classes, activation. What the tables lack is an error."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from icpc_d2.checkpoint.kinds import describe_misfit

logger = logging.getLogger(__name__)

# Where the image encoder may be in a model: by itself, or below Detectron2's FPN.
IMAGE_ENCODERS = ("backbone.visual.", "backbone.bottom_up.visual.")
TEXT_ENCODER = "text_encoder."
# The same in a model that is CLIP itself.
CLIP_TOWERS = ("visual.", "transformer.")

# Start of a name in open_clip -> start of the name in our models; "{image}" is one of IMAGE_ENCODERS.
CLIP_NAMES = {
    "visual.": "{image}",
    **{start: TEXT_ENCODER + start for start in ("token_embedding.", "positional_embedding", "transformer.")},
    **{start: TEXT_ENCODER + start for start in ("ln_final.", "text_projection")},
}
# Parts of CLIP that no model of ours has: the contrastive scale, and the numbers in OpenAI's archives.
CLIP_UNUSED = ("logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size")
# Parts of the image encoder that only the embeddings need: dropped if the model is built without these.
EMBEDDING_PARTS = ("visual.attnpool.", "visual.ln_post.", "visual.proj")
# Position embeddings of a token (mean or class) and a square grid, which are resized to fit.
GRID_POSITIONS = ("attnpool.positional_embedding", "visual.positional_embedding")
# Counts batches for BatchNorm without momentum, which no model here has; old files lack it.
OPTIONAL = "num_batches_tracked"
NAMED_CLASSES = 20  # of those that differ


def convert_clip(weights: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename and fit CLIP's weights, by open_clip's names, for a model with this state dict.

    Returns:
        The weights by the model's names, and open_clip's names of those that the model has no use for.

    Raises:
        ValueError: names that are not in the tables, encoder parameters without weights, or shapes that do not fit.
    """
    image = next((prefix for prefix in IMAGE_ENCODERS if any(name.startswith(prefix) for name in model)), None)
    if image is None:
        raise ValueError(
            "These are CLIP's weights, but the model has no CLIP image encoder: set MODEL.BACKBONE.NAME to "
            "'build_clip_resnet_backbone' or 'build_clip_vit_backbone', or MODEL.WEIGHTS to other weights."
        )
    renamed = {name: _rename_clip(name, image) for name in weights}
    sources = {target: name for name, target in renamed.items() if target in model}
    left_over = [name for name, target in renamed.items() if target not in model]
    unknown = [name for name in left_over if not _is_unused(name, image, model)]
    missing = [name for name in model if name.startswith((image, TEXT_ENCODER)) and name not in sources]
    check_names(missing, unknown, "CLIP", weights)
    return {target: fit(target, weights[name], model[target]) for target, name in sources.items()}, left_over


def check_names(missing: Iterable[str], unknown: Iterable[str], source: str, names: Iterable[str] = ()) -> None:
    """Raise ValueError for weights that do not cover a model or hold more than it has; the log has all the names.

    Args:
        names: all that the weights have, by which their kind is recognised.
    """
    found = [sorted(name for name in some if not name.endswith(OPTIONAL)) for some in (missing, unknown)]
    if any(found):
        for some, what in zip(found, ("missing from the weights", "not in the model"), strict=True):
            logger.debug(f"{source}, {what}: {', '.join(some)}")
        raise ValueError(describe_misfit(*found, names, source))


def check_classes(found: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise ValueError, which lists how they differ, for other classes than the model's; either may be empty: any."""
    if not found or not wanted or list(found) == list(wanted):
        return
    pairs = enumerate(zip_longest(found, wanted, fillvalue="(none)"))
    differing = [f"{index}: {theirs!r} -> {ours!r}" for index, (theirs, ours) in pairs if theirs != ours]
    more = f", and {len(differing) - NAMED_CLASSES} more" if len(differing) > NAMED_CLASSES else ""
    raise ValueError(
        f"The weights were trained for {len(found)} classes, the data set or MODEL.CLASS_NAMES has {len(wanted)}. "
        f"{len(differing)} differ (id: weights -> data): {', '.join(differing[:NAMED_CLASSES])}{more}. Use a data set "
        "of the same classes in the same order, fine-tune to others by training with MODEL.NEW_CLASSES True, or start "
        "from CLIP's weights."
    )


def fit_weights(weights: Mapping[str, Tensor], model: Mapping[str, Tensor], resize: bool = True) -> dict[str, Tensor]:
    """Return the weights of a checkpoint of ours in the shapes of the model's state dict.

    Raises:
        ValueError: other names, or shapes that do not fit, see :func:`fit`.
    """
    check_names(model.keys() - weights.keys(), weights.keys() - model.keys(), "a checkpoint", weights)
    return {name: fit(name, tensor, model[name], resize) for name, tensor in weights.items() if name in model}


def fit(name: str, tensor: Tensor, target: Tensor, resize: bool = True) -> Tensor:
    """Return the tensor in the target's shape: with `resize`, position embeddings of a grid may have another.

    Raises:
        ValueError: it does not fit.
    """
    if tensor.shape == target.shape:
        return tensor
    resize = resize and name.endswith(GRID_POSITIONS)
    if resize and tensor.ndim == target.ndim == 2 and tensor.shape[1] == target.shape[1]:
        return resize_positions(tensor, target.shape[0])
    raise ValueError(
        f"{name}: found the shape {tuple(tensor.shape)} in the weights, wanted {tuple(target.shape)}: the weights are "
        "of another architecture, image size (MODEL.CLIP.IMAGE_SIZE) or class count than the config's."
    )


def resize_positions(embedding: Tensor, length: int) -> Tensor:
    """Resize the grid below the first row of a position embedding, (1 + n * n, C) -> (length, C), bilinearly.

    Raises:
        ValueError: one of the grids is not a square.
    """
    rows = [len(embedding), length]
    sides = [round((count - 1) ** 0.5) for count in rows]
    if [side**2 + 1 for side in sides] != rows:
        raise ValueError(f"Position embeddings of {rows[0]} and {rows[1]} rows are not a token and a square grid.")
    return resample_abs_pos_embed(embedding[None], sides[1:] * 2, interpolation="bilinear", antialias=False)[0]


def rename(name: str, starts: Mapping[str, str]) -> str | None:
    """Replace the start of a name by what the table has for it, the longest one if several fit; None if none does."""
    start = max((start for start in starts if name.startswith(start)), key=len, default=None)
    return None if start is None else starts[start] + name.removeprefix(start)


def uses_quick_gelu(model: nn.Module) -> bool | None:
    """Return whether a model's CLIP encoders use QuickGELU; None: neither it nor GELU, as in ResNets without text."""
    encoders = (*IMAGE_ENCODERS, TEXT_ENCODER, *CLIP_TOWERS)
    modules = [module for name, module in model.named_modules() if f"{name}.".startswith(encoders)]
    # A faster form of an activation is derived from it.
    kinds = {kind.__name__ for module in modules for kind in type(module).__mro__}
    return "QuickGELU" in kinds if kinds & {"QuickGELU", "GELU"} else None


def check_activation(model: nn.Module, quick_gelu: bool | None) -> None:
    """Compare the activation that weights were trained with to the model's; the other one quietly does worse.

    Args:
        quick_gelu: QuickGELU, or GELU; None: nothing says which, which is warned of.

    Raises:
        ValueError: it is the other one.
    """
    built = uses_quick_gelu(model)
    if built is None or built == quick_gelu:
        return
    names = {True: "QuickGELU", False: "GELU"}
    if quick_gelu is None:
        logger.warning(
            f"The file does not say which activation these CLIP weights were trained with; MODEL.CLIP.ARCH builds "
            f"{names[built]}. If it was the other one, the model is worse without a word: `clip://MODEL/TAG` knows."
        )
        return
    change = "the same name with '-quickgelu' at its end" if quick_gelu else "the same name without '-quickgelu'"
    raise ValueError(
        f"These weights were trained with {names[quick_gelu]}, but MODEL.CLIP.ARCH builds a model with "
        f"{names[built]}: set it to {change} (as in RN50-quickgelu, ViT-B-16-quickgelu)."
    )


def _rename_clip(name: str, image: str) -> str:
    return (rename(name, CLIP_NAMES) or "").replace("{image}", image)


def _is_unused(name: str, image: str, model: Mapping[str, Tensor]) -> bool:
    """Return whether the model is known to do without this part of CLIP: all of the part, and not just this name."""
    parts = [_rename_clip(part, image) for part in EMBEDDING_PARTS] + [TEXT_ENCODER]
    part = next((part for part in parts if _rename_clip(name, image).startswith(part)), None)
    return name in CLIP_UNUSED or (part is not None and not any(key.startswith(part) for key in model))
