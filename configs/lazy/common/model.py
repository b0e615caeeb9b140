"""ICPC on CLIP's RN50, part by part. Classes and ignored labels are those of ``dataloader.train.dataset.names``.

What other files change: ``model.backbone``, ``model.prompt.embed_channels`` (C) and the channels of ``model.neck``. The
plain forms of icpc_d2/modeling/ may stand where those of modeling/fast/ do.
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec

from icpc_d2.modeling import ICPC, ClipResNet, SemanticFPNHead
from icpc_d2.modeling.class_names import count_classes, read_synonyms
from icpc_d2.modeling.fast.chunked_predictions import ChunkedLogits
from icpc_d2.modeling.fast.folded_neck import FoldedFPN
from icpc_d2.modeling.fast.lazy_alignment import LazyMultiScaleAlignment
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.fast.recorded_text_encoder import RecordedTextEncoder
from icpc_d2.modeling.fast.strip_loss import strip_pixel_cross_entropy
from icpc_d2.modeling.labels import read_ignore_value
from icpc_d2.modeling.losses import AlignmentLoss, ContrastiveLoss
from icpc_d2.modeling.text.context_decoder import ContextDecoder
from icpc_d2.modeling.text.prompts import ICPCPrompt

LEVELS = ["res2", "res3", "res4", "res5"]

model = L(ICPC)(
    backbone=L(ClipResNet)(
        architecture="RN50-quickgelu",
        out_features=[*LEVELS, "global_embed", "dense_embed"],
        image_size=512,
        norm="SyncBN",
    ),
    prompt=L(ICPCPrompt)(
        num_context=8, embed_channels=1024, width=512, projector_reduction=16, context_init="denseclip"
    ),
    class_tokens=L(PackedClassTokens)(
        names=L(read_synonyms)(datasets="${dataloader.train.dataset.names}"),
        template="{}",
        context_length=77,
        num_context=9,  # of the prompt: V_1..V_N and I
    ),
    text_encoder=L(RecordedTextEncoder)(
        architecture="${..backbone.architecture}", max_activation_mib=1024, checkpoint=False
    ),
    context_decoder=L(ContextDecoder)(
        channels="${..prompt.embed_channels}", width=256, num_heads=4, num_layers=3, dropout=0.1, initial_lambda=1e-4
    ),
    alignment=L(LazyMultiScaleAlignment)(
        level="res5",
        channels="${..prompt.embed_channels}",
        num_classes="${..sem_seg_head.num_classes}",
        init="identity",
    ),
    neck=L(FoldedFPN)(
        shapes=dict(
            res2=L(ShapeSpec)(channels=256, stride=4),
            res3=L(ShapeSpec)(channels=512, stride=8),
            res4=L(ShapeSpec)(channels=1024, stride=16),
            res5=L(ShapeSpec)(channels=2048, stride=32),
        ),
        score_levels=LEVELS,
        num_classes="${..sem_seg_head.num_classes}",
        out_channels=256,
        norm="",
        fuse_type="sum",
        init="denseclip",
    ),
    sem_seg_head=L(SemanticFPNHead)(
        input_shape=dict(
            p2=L(ShapeSpec)(channels="${....neck.out_channels}", stride=4),
            p3=L(ShapeSpec)(channels="${....neck.out_channels}", stride=8),
            p4=L(ShapeSpec)(channels="${....neck.out_channels}", stride=16),
            p5=L(ShapeSpec)(channels="${....neck.out_channels}", stride=32),
        ),
        num_classes=L(count_classes)(names="${model.class_tokens.names}"),
        conv_dims=256,
        common_stride=4,
        loss_weight=1.0,
        norm="SyncBN",
        ignore_value=L(read_ignore_value)(datasets="${dataloader.train.dataset.names}"),
        dropout=0.1,
        pixel_loss=strip_pixel_cross_entropy,
        init="denseclip",
    ),
    alignment_loss=L(AlignmentLoss)(
        levels=["res5"],
        weight=0.4,
        temperature=0.07,
        contrastive_loss=L(ContrastiveLoss)(
            num_points=5,
            temperature=0.1,
            sampling="easy_to_hard",
            normalize=False,
            ignore_value="${model.sem_seg_head.ignore_value}",
        ),
        contrastive_weight=0.5,
        ignore_value="${model.sem_seg_head.ignore_value}",
        pixel_loss=strip_pixel_cross_entropy,
    ),
    max_iter="${train.max_iter}",
    predict_from="decoder",
    pixel_mean=[122.7709383, 116.7460125, 104.0937362],
    pixel_std=[68.5005327, 66.6321579, 70.3231630],
    window=[512, 341, 4],
    logits_type=ChunkedLogits,
    pad_to_stride=False,
)
