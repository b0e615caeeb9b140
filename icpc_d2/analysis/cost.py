"""The cost of one image by part of a model: multiply-adds and parameters, ours and in the paper's form."""

from collections import Counter
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode
from torch import nn

from icpc_d2.analysis.macs import build_on_meta, count_forward, count_macs, meta_image
from icpc_d2.analysis.random_models import plain_form
from icpc_d2.modeling import ICPC
from icpc_d2.modeling.neck import AlignedFPN

MODULES = ("backbone", "prompt", "text_encoder", "context_decoder", "alignment", "neck", "sem_seg_head")
# "scores": cosines and the up-sampling of the dense embedding, Eq. 5.
PARTS = (*MODULES[:4], "scores", *MODULES[4:])
# The paper's prompts hold SOT, the context, three tokens of a name and EOT.
PAPER_CLASS_LENGTH = 4


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one image by part, and the model's parameters.

    "alignment" is what leads from the cosine maps into the FPN, wherever it runs: the up-sampling of Eq. 8 and the
    share of the lateral convolutions that takes score maps. Their share of the backbone's maps counts as "neck".
    """

    image: Counter[str]  # an image in evaluation, once everything that images share is kept
    first_image: Counter[str]  # the first one, which computes that
    training: Counter[str]  # the forward pass of one image with gradients, where nothing is kept
    naive: Counter[str]  # the same result in the paper's form, prompts padded to the longest
    params: Counter[str]  # parameters by part

    def summary(self) -> dict[str, float]:
        """Return the figures of ``--json``: GMACs of an image, and millions of parameters."""
        return {
            "total_gmacs": self.image.total() / 1e9,
            "text_encoder_gmacs": self.image["text_encoder"] / 1e9,
            "naive_text_encoder_gmacs": self.naive["text_encoder"] / 1e9,
            "without_text_gmacs": (self.image.total() - self.image["text_encoder"]) / 1e9,
            "alignment_gmacs": self.image["alignment"] / 1e9,
            "naive_alignment_gmacs": self.naive["alignment"] / 1e9,
            "params_m": self.params.total() / 1e6,
            "params_without_text_m": (self.params.total() - self.params["text_encoder"]) / 1e6,
        }


@torch.no_grad()
def count_cost(cfg: CfgNode, height: int, width: int, reference: bool = False) -> Cost:
    """Count the cost of a config's model at an image size, which is padded as the model pads.

    Args:
        cfg: of ICPC, or of a model of a backbone and a head as Detectron2's `SemanticSegmentor`.
        reference: count the paper's own form in place of ours.
    """
    model = build_papers_form(cfg) if reference else build_on_meta(cfg)
    first_image, params = count_image(model, height, width), count_params(model)
    if reference or not isinstance(model, ICPC):
        return Cost(first_image, first_image, first_image, first_image, params)
    kept = count_image(model, height, width)
    with torch.enable_grad():
        training = count_image(model, height, width)
    naive = count_image(build_on_meta(plain_form(cfg)), height, width)
    return Cost(kept, first_image, training, naive, params)


@torch.no_grad()
def count_both_forms(cfg: CfgNode, height: int, width: int) -> tuple[Counter[str], Counter[str]]:
    """Count an image in evaluation: ours once everything that images share is kept, and in the paper's form."""
    model = build_on_meta(cfg)
    count_image(model, height, width)
    return count_image(model, height, width), count_image(build_papers_form(cfg), height, width)


def build_papers_form(cfg: CfgNode) -> nn.Module:
    """Build the plain model of a config on the meta device, its prompts as long as the paper counts them."""
    model = build_on_meta(plain_form(cfg))
    if isinstance(model, ICPC):
        tokens = model.class_tokens
        tokens.ids = tokens.ids.new_empty(len(tokens.ids), PAPER_CLASS_LENGTH)
    return model


def count_image(model: nn.Module, height: int, width: int) -> Counter[str]:
    """Count the multiply-adds of a model on the meta device by part, up to logits of the image's size.

    Models with a text encoder have an entry for it, even if it runs for no image.
    """
    image = meta_image(model, height, width)
    if not isinstance(model, ICPC):
        parts = {"neck": model.backbone, "backbone": model.backbone.bottom_up, "sem_seg_head": model.sem_seg_head}
        return count_macs(lambda: model.sem_seg_head(model.backbone(image), None), parts)
    macs = count_forward(model, height, width, {name: getattr(model, name) for name in MODULES})
    macs.setdefault("text_encoder", 0)
    # The logits are up-sampled bilinearly, four multiply-adds for each.
    macs["sem_seg_head"] += macs.pop("", 0) + 4 * len(model.class_tokens) * image[0, 0].numel()
    features = model.backbone(image)
    text = image.new_empty(1, len(model.class_tokens), features["dense_embed"].shape[1])
    into_neck = macs["alignment"] + macs["neck"]
    shapes = {level: model.backbone.output_shape()[level] for level in model.neck.in_features}
    with torch.device("meta"):
        neck = AlignedFPN(shapes, (), 0, out_channels=model.neck.output_shape()["p2"].channels)
    macs["neck"] = count_macs(lambda: neck((features, {}))).total()
    # The maps of Eq. 8 are made from these.
    macs["scores"] = count_macs(lambda: model.alignment.cosines(features["dense_embed"], text)).total()
    macs["alignment"] = into_neck - macs["neck"] - macs["scores"]
    return macs


def count_params(model: nn.Module) -> Counter[str]:
    """Count the parameters by part."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0]
        if not isinstance(model, ICPC) and part == "backbone" and not name.startswith("backbone.bottom_up."):
            part = "neck"
        counts[part] += parameter.numel()
    return counts
