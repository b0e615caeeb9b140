"""The paper's own forms of what this project computes in another order: the references of counts, timings and tests.

They are written for clarity and are no part of the product. Each stands on the very parameters of the part that it
mirrors, takes the same arguments and returns the same values up to rounding.

Shapes: B images, K classes, C joint embedding width, L tokens of a prompt, T those of a class name and EOT, D width.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling.alignment import MultiScaleAlignment, SingleScaleAlignment, cosine_scores
from icpc_d2.modeling.meta_arch import ICPC
from icpc_d2.modeling.neck import AlignedFPN
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.prompts import Context
from icpc_d2.modeling.text.text_encoder import TextEncoder


class NaiveTextEncoder(nn.Module):
    """Each class of each image as a whole prompt ``[SOT, V, I, name, EOT]``, B * K sequences side by side."""

    def __init__(self, encoder: TextEncoder, class_length: int | None = None) -> None:
        """
        Args:
            encoder: whose parameters to use.
            class_length: T, which shorter names are padded to; None: that of the longest name. Longer names are cut:
                then only the cost is meant.
        """
        super().__init__()
        self.encoder = encoder
        self.class_length = class_length

    def forward(self, tokens: ClassTokens, context: Context) -> Tensor:
        """Embed all classes: (B, K, C), with B = 1 if `context` holds nothing of an image."""
        encoder = self.encoder
        ids, ends = padded_class_tokens(tokens, self.class_length)
        batch = 1 if context.per_image is None else len(context.per_image)
        prefix = encoder.token_embedding(tokens.prefix)
        parts = [prefix] if context.shared is None else [prefix, context.shared]
        parts = [part.expand(batch, len(ids), -1, -1) for part in parts]
        if context.per_image is not None:
            parts.append(context.per_image[:, None].expand(-1, len(ids), -1, -1))
        parts.append(encoder.token_embedding(ids).expand(batch, -1, -1, -1))
        x = torch.cat(parts, dim=2)
        length = x.shape[2]
        x = (x + encoder.positional_embedding[:length]).flatten(0, 1)
        for block in encoder.transformer.resblocks:
            x = causal_block(block, x)
        # Behind EOT stands padding alone, which nothing before it has seen.
        ends = (length - ids.shape[1] + ends).repeat(batch)
        x = encoder.ln_final(x[torch.arange(len(x), device=x.device), ends])
        return (x @ encoder.text_projection).unflatten(0, (batch, -1))


def padded_class_tokens(tokens: ClassTokens, length: int | None = None) -> tuple[Tensor, Tensor]:
    """The tokens of all names with EOT, in the order of the classes: ids (K, T), and the place of EOT in each (K,)."""
    length = length or max(count for _, count in tokens.shapes)
    starts = torch.cat([tokens.ends.new_zeros(1), tokens.ends[:-1] + 1])
    index = starts[:, None] + torch.arange(length, device=starts.device)
    ids = tokens.ids[torch.minimum(index, tokens.ends[:, None])]
    return ids[tokens.order], (tokens.ends - starts).clamp(max=length - 1)[tokens.order]


def causal_block(block: nn.Module, x: Tensor) -> Tensor:
    """One residual attention block of CLIP's text encoder on whole sequences (N, L, D)."""
    attn = block.attn
    projected = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    query, key, value = (part.unflatten(2, (attn.num_heads, -1)).transpose(1, 2) for part in projected.chunk(3, dim=2))
    attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    x = x + F.linear(attended.transpose(1, 2).flatten(2), attn.out_proj.weight, attn.out_proj.bias)
    return x + block.mlp(block.ln_2(x))


class PlainAlignment(nn.Module):
    """Eq. 5 and 8 as they stand: every ``Up`` is run, every map exists."""

    def __init__(self, alignment: SingleScaleAlignment | MultiScaleAlignment) -> None:
        """
        Args:
            alignment: whose parameters to use.
        """
        super().__init__()
        self.alignment = alignment
        self.levels = alignment.levels
        self.coarsest = alignment.coarsest

    def forward(self, dense_embed: Tensor, text: Tensor) -> dict[str, Tensor]:
        """(B, C, h, w) and (B, K, C) -> the maps by level, (B, K, H / stride, W / stride)."""
        up = self.alignment
        if isinstance(up, SingleScaleAlignment):
            return {up.coarsest: cosine_scores(dense_embed, text)}
        if up.up_embed is None:
            at_16, at_32 = dense_embed, F.max_pool2d(dense_embed, 2)
        else:
            at_16, at_32 = up.up_embed(dense_embed), dense_embed
        a_32, a_16 = cosine_scores(at_32, text), cosine_scores(at_16, text)
        a_8 = up.up_32_to_8(a_32) + up.up_16_to_8(a_16)
        a_4 = up.up_32_to_4(a_32) + up.up_16_to_4(a_16) + up.up_8_to_4(a_8)
        return {"res2": a_4, "res3": a_8, "res4": a_16, "res5": a_32}


class PlainNeck(nn.Module):
    """FPN on each backbone map concatenated with the score map of its level."""

    def __init__(self, neck: AlignedFPN) -> None:
        """
        Args:
            neck: whose parameters to use; without normalization, as everywhere in the paper.
        """
        super().__init__()
        self.neck = neck

    def forward(self, inputs: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """(features, scores) by level -> p2..p5. A level without scores gets the feature map alone."""
        outputs, above = {}, None
        names = reversed(list(self.neck.output_shape()))
        for name, x, output in zip(names, self.laterals(*inputs), self.neck.output_convs, strict=True):
            above = x if above is None else x + F.interpolate(above, scale_factor=2.0, mode="nearest")
            outputs[name] = output(above)
        return dict(reversed(outputs.items()))

    def laterals(self, features: Mapping[str, Tensor], scores: Mapping[str, Tensor]) -> list[Tensor]:
        """What the lateral convolutions give, from coarse to fine."""
        outputs = []
        for level, lateral in zip(reversed(self.neck.in_features), self.neck.lateral_convs, strict=True):
            maps = [features[level], *([scores[level]] if level in scores else [])]
            joined = torch.cat(maps, dim=1) if len(maps) > 1 else maps[0]
            outputs.append(F.conv2d(joined, lateral.conv.weight[:, : joined.shape[1]], lateral.conv.bias))
        return outputs


def make_reference(model: ICPC, class_length: int | None = None) -> ICPC:
    """A model in the paper's form on the same parameters.

    Args:
        class_length: T of :class:`NaiveTextEncoder`.
    """
    reference = copy.copy(model)
    reference._modules = {
        **model._modules,
        "text_encoder": NaiveTextEncoder(model.text_encoder, class_length),
        "alignment": PlainAlignment(model.alignment),
        "neck": PlainNeck(model.neck),
    }
    return reference


def plain_pixel_cross_entropy(logits: Tensor, labels: Tensor, ignore_value: int) -> Tensor:
    """Mean cross-entropy over the labelled pixels, by way of the logits of all pixels at once.

    Args:
        logits: (B, K, h, w), up-sampled bilinearly.
        labels: (B, H, W), class ids or `ignore_value`.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, labels, ignore_index=ignore_value, reduction="sum")
    return total / (labels != ignore_value).sum().clamp(min=1)
