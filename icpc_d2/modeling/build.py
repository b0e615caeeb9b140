"""The only place where a config turns into the parts of ICPC, and chooses between plain and fast ones."""

from collections.abc import Callable, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone, build_sem_seg_head
from torch import Tensor, nn

from icpc_d2.modeling.alignment import MultiScaleAlignment, SingleScaleAlignment
from icpc_d2.modeling.class_names import get_class_names, get_synonyms
from icpc_d2.modeling.class_weights import get_class_weights
from icpc_d2.modeling.fast.chunked_predictions import ChunkedLogits
from icpc_d2.modeling.fast.folded_neck import FoldedFPN
from icpc_d2.modeling.fast.lazy_alignment import LazyMultiScaleAlignment
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.fast.recorded_text_encoder import RecordedTextEncoder
from icpc_d2.modeling.fast.strip_loss import strip_pixel_cross_entropy
from icpc_d2.modeling.losses import (
    AlignmentLoss,
    ContrastiveLoss,
    GatheredContrastiveLoss,
    WeightedPixelLoss,
    pixel_cross_entropy,
)
from icpc_d2.modeling.neck import AlignedFPN
from icpc_d2.modeling.predictions import LazyLogits
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.context_decoder import ContextDecoder
from icpc_d2.modeling.text.prompts import PROMPTS, LearnedPrompt
from icpc_d2.modeling.text.text_encoder import TextEncoder

Alignment = SingleScaleAlignment | MultiScaleAlignment


def build_parts(cfg: CfgNode) -> dict[str, Any]:
    """Build everything that :class:`icpc_d2.modeling.meta_arch.ICPC` is made of, as its keyword arguments.

    Raises:
        ValueError: for a value of the config that no part can be built from; the message names the key.
    """
    names = get_class_names(cfg)
    backbone = build_backbone(cfg)
    shapes = backbone.output_shape()
    for name in ("global_embed", "dense_embed", *cfg.MODEL.FPN.IN_FEATURES):
        if name not in shapes:
            raise ValueError(
                f"META_ARCHITECTURE ICPC needs the backbone's output {name!r}, but MODEL.BACKBONE.NAME "
                f"{cfg.MODEL.BACKBONE.NAME!r} has {list(shapes)}; add it to MODEL.CLIP.OUT_FEATURES"
            )
    channels = shapes["dense_embed"].channels
    decoder = cfg.MODEL.CONTEXT_DECODER
    alignment = build_alignment(cfg, shapes, len(names))
    neck = (FoldedFPN if cfg.MODEL.FAST else AlignedFPN)(
        {level: shapes[level] for level in cfg.MODEL.FPN.IN_FEATURES},
        alignment.levels,
        len(names),
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
        init=read_decoder_init(cfg),
    )
    return {
        "backbone": backbone,
        **build_text(cfg, get_synonyms(cfg), channels),
        "context_decoder": ContextDecoder(
            channels, decoder.WIDTH, decoder.NUM_HEADS, decoder.NUM_LAYERS, decoder.DROPOUT, decoder.LAMBDA
        ),
        "alignment": alignment,
        "neck": neck,
        "sem_seg_head": build_sem_seg_head(cfg, neck.output_shape()),
        "alignment_loss": build_alignment_loss(cfg, alignment),
    }


def check_parts(model: nn.Module) -> None:
    """Check that the parts of an ICPC, which a LazyConfig lists one by one, were built for each other.

    Raises:
        ValueError: two of them disagree on the classes, the learned tokens or the ignored label.
    """
    tokens, head, loss = model.class_tokens, model.sem_seg_head, model.alignment_loss
    contrastive = loss.contrastive_loss or loss
    for first, second, values in (
        ("class_tokens.names", "sem_seg_head.num_classes", (len(tokens), getattr(head, "num_classes", len(tokens)))),
        ("class_tokens.num_context", "prompt", (tokens.num_context, model.prompt.num_context)),
        ("alignment_loss.ignore_value", "sem_seg_head.ignore_value", (loss.ignore_value, head.ignore_value)),
        ("contrastive_loss.ignore_value", "alignment_loss", (contrastive.ignore_value, loss.ignore_value)),
    ):
        if values[0] != values[1]:
            raise ValueError(f"the parts of ICPC must agree: {first} is for {values[0]}, {second} for {values[1]}")


def build_text(cfg: CfgNode, names: Sequence[str | Sequence[str]], channels: int) -> dict[str, Any]:
    """Build the prompt, the class tokens that it is filled with, and the text encoder.

    Args:
        names: of each class one, or several.
        channels: C of the image encoder, which the text encoder must share.
    """
    keys = cfg.MODEL.PROMPT
    encoder_keys = cfg.MODEL.TEXT_ENCODER
    if keys.NAME not in PROMPTS:
        raise ValueError(f"MODEL.PROMPT.NAME is {keys.NAME!r}; wanted is one of {sorted(PROMPTS)}")
    if cfg.MODEL.FAST:
        encoder = RecordedTextEncoder(cfg.MODEL.CLIP.ARCH, encoder_keys.MEMORY, encoder_keys.CHECKPOINT)
    else:
        encoder = TextEncoder(cfg.MODEL.CLIP.ARCH)
    if encoder.channels != channels:
        raise ValueError(
            f"the backbone's embeddings are {channels} wide, but the text encoder of MODEL.CLIP.ARCH "
            f"{cfg.MODEL.CLIP.ARCH!r} gives {encoder.channels}; choose the backbone that belongs to it"
        )
    prompt_type = PROMPTS[keys.NAME]
    init = {"context_init": keys.CONTEXT_INIT} if issubclass(prompt_type, LearnedPrompt) else {}
    prompt = prompt_type(keys.NUM_CONTEXT, channels, encoder.width, keys.PROJECTOR_REDUCTION, **init)
    template = keys.TEMPLATE if keys.NAME == "template" else "{}"
    tokens_type = PackedClassTokens if cfg.MODEL.FAST else ClassTokens
    tokens = tokens_type(names, template, encoder.context_length, prompt.num_context)
    return {"prompt": prompt, "class_tokens": tokens, "text_encoder": encoder}


def build_alignment(cfg: CfgNode, shapes: dict[str, ShapeSpec], num_classes: int) -> Alignment:
    """Build the alignment at the levels that ``MODEL.ALIGNMENT`` asks for."""
    dense = shapes["dense_embed"]
    level = next(name for name in cfg.MODEL.FPN.IN_FEATURES if shapes[name].stride == dense.stride)
    if not cfg.MODEL.ALIGNMENT.MULTI_SCALE:
        return SingleScaleAlignment(level)
    alignment_type = LazyMultiScaleAlignment if cfg.MODEL.FAST else MultiScaleAlignment
    return alignment_type(level, dense.channels, num_classes, cfg.MODEL.ALIGNMENT.INIT)


def read_decoder_init(cfg: CfgNode) -> str:
    """Read how FPN and Semantic FPN head start.

    Raises:
        ValueError: for another value than "detectron2" and "denseclip".
    """
    if cfg.MODEL.DECODER_INIT not in ("detectron2", "denseclip"):
        raise ValueError(f"MODEL.DECODER_INIT is {cfg.MODEL.DECODER_INIT!r}; wanted is 'detectron2' or 'denseclip'")
    return cfg.MODEL.DECODER_INIT


def build_pixel_loss(cfg: CfgNode) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Choose the form of the per-pixel cross-entropy, with ``MODEL.CLASS_WEIGHTS`` if there are any."""
    form = strip_pixel_cross_entropy if cfg.MODEL.FAST else pixel_cross_entropy
    weights = get_class_weights(cfg)
    return WeightedPixelLoss(form, weights) if weights else form


def build_alignment_loss(cfg: CfgNode, alignment: Alignment) -> AlignmentLoss:
    """Build L_align and L_contrast; the latter is left out if its weight is 0."""
    keys = cfg.MODEL.ALIGNMENT
    contrastive = cfg.MODEL.CONTRASTIVE
    levels = tuple(keys.LOSS_SCALES) or (alignment.coarsest,)
    unknown = set(levels) - set(alignment.levels)
    if unknown:
        raise ValueError(f"MODEL.ALIGNMENT.LOSS_SCALES has {sorted(unknown)}; there are {list(alignment.levels)}")
    ignore_value = cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
    loss_type = GatheredContrastiveLoss if contrastive.GATHER else ContrastiveLoss
    loss = loss_type(
        contrastive.NUM_POINTS, contrastive.TEMPERATURE, contrastive.SAMPLING, contrastive.NORMALIZE, ignore_value
    )
    weight = contrastive.LOSS_WEIGHT
    parts = (loss if weight else None, weight, ignore_value, build_pixel_loss(cfg))
    return AlignmentLoss(levels, keys.LOSS_WEIGHT, keys.TEMPERATURE, *parts)


def build_settings(cfg: CfgNode) -> dict[str, Any]:
    """Read the numbers and choices of :class:`icpc_d2.modeling.meta_arch.ICPC`, as its keyword arguments."""
    if cfg.MODEL.PREDICT_FROM not in ("decoder", "alignment"):
        raise ValueError(f"MODEL.PREDICT_FROM is {cfg.MODEL.PREDICT_FROM!r}; wanted is 'decoder' or 'alignment'")
    return {"max_iter": cfg.SOLVER.MAX_ITER, "predict_from": cfg.MODEL.PREDICT_FROM, **build_inference(cfg)}


def build_inference(cfg: CfgNode) -> dict[str, Any]:
    """Read how to predict; see :meth:`icpc_d2.modeling.segmentor.Segmentor.configure_inference`."""
    keys = cfg.TEST.SLIDING_WINDOW
    return {
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
        "window": (keys.SIZE, keys.STRIDE, keys.BATCH_SIZE) if keys.ENABLED else None,
        "logits_type": ChunkedLogits if cfg.MODEL.FAST else LazyLogits,
        "pad_to_stride": cfg.TEST.PAD_TO_STRIDE,
    }
