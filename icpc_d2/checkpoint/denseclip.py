"""DenseCLIP's segmentation models, from the names in its mmsegmentation checkpoints to ours and back by one table.

Three tensors change on the way, none with rounding, so that there and back gives the same bits:

- its ViT adds the class embedding twice, as a token and to that token's position: ours is stored doubled. (Their sum
  with the position would mean the same, but could not be taken apart again exactly.)
- its text encoder has the positions of its own prompts alone: ours has zeros behind them, up to CLIP's 77.
- its context vectors have a dimension of size 1 for the batch: ours have not.

Its text encoder is taken as it is: no longer CLIP's, since it kept learning at the schedule's floor.
"""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from icpc_d2.checkpoint.clip_weights import read_weights
from icpc_d2.checkpoint.key_maps import check_names, fit, rename

_LEVELS = range(4)  # res2..res5
_HEAD_CONVS = [(level, 2 * step) for level in _LEVELS for step in range(max(1, level))]  # up-sampling in between

# Start of a name in DenseCLIP -> start of the name in our models. The longest start counts, in both directions.
NAMES = {
    "backbone.": "backbone.visual.",
    "backbone.fpn1.0.": "backbone.pyramid.res2.input_norm.",
    "backbone.fpn1.1.": "backbone.pyramid.res2.up1.",
    "backbone.fpn1.2.": "backbone.pyramid.res2.norm.",
    "backbone.fpn1.4.": "backbone.pyramid.res2.up2.",
    "backbone.fpn2.0.": "backbone.pyramid.res3.input_norm.",
    "backbone.fpn2.1.": "backbone.pyramid.res3.up1.",
    "backbone.fpn3.": "backbone.pyramid.res4.input_norm.",
    "backbone.fpn4.0.": "backbone.pyramid.res5.input_norm.",
    "text_encoder.": "text_encoder.",
    "contexts": "prompt.vectors",
    "context_decoder.": "context_decoder.",
    "context_decoder.decoder.": "context_decoder.layers.",
    "gamma": "context_decoder.scale",
    **{f"neck.lateral_convs.{level}.conv.": f"neck.fpn_lateral{level + 2}.conv." for level in _LEVELS},
    **{f"neck.fpn_convs.{level}.conv.": f"neck.fpn_output{level + 2}." for level in _LEVELS},
    **{f"decode_head.scale_heads.{i}.{j}.conv.": f"sem_seg_head.p{i + 2}.{j}." for i, j in _HEAD_CONVS},
    **{f"decode_head.scale_heads.{i}.{j}.bn.": f"sem_seg_head.p{i + 2}.{j}.norm." for i, j in _HEAD_CONVS},
    "decode_head.conv_seg.": "sem_seg_head.predictor.1.",
}
OUR_NAMES = {ours: theirs for theirs, ours in NAMES.items()}
# Heads that mmsegmentation has in training alone.
UNUSED = ("auxiliary_head.", "identity_head.")
# Our names of the tensors that change.
CLASS_EMBEDDING = "backbone.visual.class_embedding"
CONTEXT = "prompt.vectors"
TEXT_POSITIONS = "text_encoder.positional_embedding"
# Positions that DenseCLIP's configs leave to SOT, the tokens of a class name, and EOT.
NAME_POSITIONS = 5


def read_denseclip(file_name: str) -> tuple[dict[str, Tensor], list[str]]:
    """Read an mmsegmentation checkpoint, without executing what it holds.

    Returns:
        The weights by DenseCLIP's names, and the class names; none if the file does not say.

    Raises:
        ValueError: the file cannot be read.
    """
    content = read_weights(file_name)
    meta = content.get("meta")
    classes = meta.get("CLASSES") if isinstance(meta, dict) else None
    # mmsegmentation calls one of its classes "bed ".
    return content["model"], [" ".join(str(name).split()) for name in classes or ()]


def from_denseclip(weights: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Turn DenseCLIP's weights into those of our model, by its state dict: prompt "coop", a single-scale alignment.

    Returns:
        The weights by our names, and DenseCLIP's names of those that no model of ours has.

    Raises:
        ValueError: names that the table does not have, parameters without weights, or shapes that do not fit.
    """
    names = {name: rename(name, NAMES) for name in weights}
    # The way back keeps two names from meaning one parameter.
    used = {name: ours for name, ours in names.items() if ours in model and rename(ours, OUR_NAMES) == name}
    left_over = [name for name in weights if name not in used]
    dropped = [name for name in left_over if name.startswith(UNUSED)]
    check_names(model.keys() - used.values(), set(left_over) - set(dropped), "DenseCLIP", weights)
    return {ours: _to_ours(ours, weights[name], model[ours]) for name, ours in used.items()}, dropped


def to_denseclip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn our weights into DenseCLIP's, with text positions for N context vectors and names of at most three tokens.

    Raises:
        ValueError: parameters that DenseCLIP does not have.
    """
    names = {ours: rename(ours, OUR_NAMES) for ours in weights}
    unknown = [ours for ours, name in names.items() if name is None or rename(name, NAMES) != ours]
    found = {"has no place for": unknown, "needs": sorted({CONTEXT, TEXT_POSITIONS} - weights.keys())}
    if misfits := [f"{what} {', '.join(parameters)}" for what, parameters in found.items() if parameters]:
        raise ValueError(
            f"DenseCLIP {' and '.join(misfits)}. Wanted is a model as in denseclip_*.yaml (MODEL.PROMPT.NAME coop, "
            "MODEL.ALIGNMENT.MULTI_SCALE False, a CLIP image encoder)."
        )
    num_positions = len(weights[CONTEXT]) + NAME_POSITIONS
    return {name: _to_theirs(ours, weights[ours], num_positions) for ours, name in names.items()}


def _to_ours(name: str, tensor: Tensor, target: Tensor) -> Tensor:
    if name == CLASS_EMBEDDING:
        tensor = tensor * 2
    elif name == CONTEXT:
        tensor = tensor.squeeze(0)
    elif name == TEXT_POSITIONS and len(tensor) < len(target):
        tensor = F.pad(tensor, (0, 0, 0, len(target) - len(tensor)))
    return fit(name, tensor, target, resize=False)


def _to_theirs(name: str, tensor: Tensor, num_positions: int) -> Tensor:
    if name == CLASS_EMBEDDING:
        return tensor / 2
    if name == CONTEXT:
        return tensor[None]
    return tensor[:num_positions].clone() if name == TEXT_POSITIONS else tensor
