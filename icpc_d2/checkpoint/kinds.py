"""Files of the wrong kind: what the names of their tensors say they are, and what makes them right."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# The start of each of these is how an ImageNet ResNet's names begin in torchvision, OpenMMLab and timm; mmpretrain puts
# "backbone." before them.
RESNET = re.compile(r"(backbone\.)?layer1\.0\.conv1\.weight")
CLIP_LIST = "`clip://MODEL/TAG` for a ResNet or a plain ViT"


class Kind(NamedTuple):
    """A kind of file, and how its names tell it."""

    names: str  # a pattern that one of the names begins with
    seems: str
    advice: str


# The first that fits counts.
KINDS = (
    Kind(
        r"context_decoder\.decoder\.|contexts$",
        "DenseCLIP's segmentation model",
        "icpc convert denseclip FILE OUT.pth --config-file configs/ade20k/denseclip_R50.yaml (or R101, ViTB)",
    ),
    Kind(
        r"decode_head\.",
        "a segmentation model of mmsegmentation",
        "of these, DenseCLIP's alone can be converted (icpc convert denseclip)",
    ),
    Kind(r"visual\.trunk\.", "a CLIP on a network of timm (EVA02, SigLIP, MobileCLIP, ConvNeXt)", f"take {CLIP_LIST}"),
    Kind(r".*\.ls_[12]\.", "a CLIP with LayerScale", f"no model here has it; take {CLIP_LIST}"),
    Kind(r"(text|text_decoder)\.", "a CLIP with a text encoder of its own kind", f"take {CLIP_LIST}"),
    Kind(r"(vision_model|text_model)\.", "a CLIP by the names of transformers", f"take the same one as {CLIP_LIST}"),
    Kind(r"visual\.", "CLIP", "it is for a model with a CLIP encoder: check MODEL.BACKBONE.NAME and MODEL.CLIP.ARCH"),
    Kind(
        RESNET.pattern,
        "an ImageNet ResNet",
        "MODEL.WEIGHTS takes it in models on one, as configs/ade20k/semantic_fpn_R50.yaml",
    ),
    Kind(r"blocks\.\d+\.attn\.", "a vision transformer of timm", f"take {CLIP_LIST}"),
    Kind(
        r"backbone\.bottom_up\.visual\.", "CLIP + Semantic FPN of this project", "take its own config: clip_fpn_*.yaml"
    ),
    Kind(r"prompt\.|text_encoder\.", "a model of this project, of other settings", "take the config.yaml beside it"),
    Kind(r"backbone\.bottom_up\.", "a model of Detectron2 on an FPN", "take the config that it was trained with"),
)


def recognize(names: Iterable[str]) -> Kind | None:
    """Return what a file seems to be by its tensors' names; None: nothing known."""
    names = list(names)
    return next((kind for kind in KINDS if any(re.match(kind.names, name) for name in names)), None)


def describe_misfit(missing: list[str], unknown: list[str], names: Iterable[str], source: str) -> str:
    """Say in a few lines that weights are not the model's, what they seem to be, and what to do."""
    kind = recognize(names)
    seems = f" They seem to be {kind.seems}: {kind.advice}." if kind else ""
    found = ((missing, "missing from the weights"), (unknown, "not in the model"))
    counts = "\n".join(_few(some, what) for some, what in found if some)
    return (
        f"These weights ({source}) are of another model than the config builds.{seems} Else check MODEL.WEIGHTS "
        f"against MODEL.BACKBONE.NAME, MODEL.CLIP.ARCH and MODEL.PROMPT.NAME.\n{counts}"
    )


def _few(names: list[str], what: str) -> str:
    more = f", ... ({len(names) - 2} more)" if len(names) > 2 else ""
    return f"{len(names)} {what}: {', '.join(name[:64] for name in names[:2])}{more}"
