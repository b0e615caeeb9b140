"""The tensors of DenseCLIP's segmentation models: names and shapes as its checkpoints have them, for any width."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Shapes = Iterator[tuple[str, tuple[int, ...]]]
CONTEXT, POSITIONS = 8, 13


@dataclass(frozen=True)
class Sizes:
    """Of a model with a ResNet if `layers` has four stages, else with a ViT."""

    layers: tuple[int, ...]
    width: int  # of the ResNet's stem, or the ViT's tokens
    embed: int  # C
    image_size: int
    heads: int  # of the attention pool, or the ViT
    classes: int = 150
    text: tuple[int, int, int] = (512, 12, 8)  # width, layers, heads
    decoder: tuple[int, int, int] = (256, 3, 4)
    fpn: int = 256
    taps: tuple[int, ...] = (3, 5, 7, 11)  # blocks of the ViT that the feature maps are made of

    @property
    def is_vit(self) -> bool:
        return len(self.layers) == 1

    @property
    def maps(self) -> list[int]:
        """Channels of the four feature maps, the score map joined to the third (ViT) or fourth."""
        channels = [self.width] * 4 if self.is_vit else [4 * self.width * 2**i for i in range(4)]
        channels[2 if self.is_vit else 3] += self.classes
        return channels


R50 = Sizes((3, 4, 6, 3), 64, 1024, 512, 32)
R101 = Sizes((3, 4, 23, 3), 64, 512, 512, 32)
VIT_B = Sizes((12,), 768, 512, 640, 12)
# As the project's tiny architectures.
_SMALL = {"classes": 5, "text": (64, 3, 2), "decoder": (64, 2, 2), "fpn": 64}
TINY_R = replace(Sizes((1, 2, 2, 2), 16, 128, 128, 16), **_SMALL)
TINY_VIT = replace(Sizes((4,), 64, 64, 128, 2), **_SMALL, taps=(0, 1, 2, 3))


def make_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor."""
    image = _vit(sizes) if sizes.is_vit else _resnet(sizes)
    parts = [*image, *_text(sizes), *_context_decoder(sizes), *_fpn(sizes)]
    parts += [("contexts", (1, CONTEXT, sizes.text[0])), ("gamma", (sizes.embed,))]
    assert len(dict(parts)) == len(parts)
    return dict(parts)


def make_weights(sizes: Sizes) -> dict[str, Tensor]:
    """Random values that neither vanish nor grow on their way through the layers."""
    weights = {}
    for name, shape in make_shapes(sizes).items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            weights[name] = torch.rand(shape) + 0.5
        elif len(shape) == 1:
            weights[name] = torch.randn(shape) * 0.2 + (1.0 if name.endswith("weight") else 0.0)
        else:
            weights[name] = torch.randn(shape) / (torch.Size(shape[1:]).numel()) ** 0.5
    return weights


def _linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _conv(name: str, outputs: int, inputs: int, kernel: int, bias: bool = False) -> Shapes:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    if bias:
        yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int, batch: bool = False) -> Shapes:
    for end in ("weight", "bias", *(("running_mean", "running_var") if batch else ())):
        yield f"{name}.{end}", (width,)
    if batch:
        yield f"{name}.num_batches_tracked", ()


def _transformer(name: str, width: int, layers: int) -> Shapes:
    for block in (f"{name}.resblocks.{i}" for i in range(layers)):
        yield from [(f"{block}.attn.in_proj_weight", (3 * width, width)), (f"{block}.attn.in_proj_bias", (3 * width,))]
        yield from _linear(f"{block}.attn.out_proj", width, width)
        yield from [*_norm(f"{block}.ln_1", width), *_norm(f"{block}.ln_2", width)]
        yield from _linear(f"{block}.mlp.c_fc", 4 * width, width)
        yield from _linear(f"{block}.mlp.c_proj", width, 4 * width)


def _resnet(sizes: Sizes) -> Shapes:
    width, channels = sizes.width, sizes.width
    for i, (outputs, inputs) in enumerate([(width // 2, 3), (width // 2, width // 2), (width, width // 2)], start=1):
        yield from [*_conv(f"backbone.conv{i}", outputs, inputs, 3), *_norm(f"backbone.bn{i}", outputs, batch=True)]
    for stage, blocks in enumerate(sizes.layers):
        planes = width * 2**stage
        for index in range(blocks):
            block = f"backbone.layer{stage + 1}.{index}"
            for i, (outputs, inputs, kernel) in enumerate(
                [(planes, channels, 1), (planes, planes, 3), (4 * planes, planes, 1)], start=1
            ):
                yield from _conv(f"{block}.conv{i}", outputs, inputs, kernel)
                yield from _norm(f"{block}.bn{i}", outputs, batch=True)
            if index == 0:
                yield from _conv(f"{block}.downsample.0", 4 * planes, channels, 1)
                yield from _norm(f"{block}.downsample.1", 4 * planes, batch=True)
            channels = 4 * planes
    yield "backbone.attnpool.positional_embedding", ((sizes.image_size // 32) ** 2 + 1, channels)
    for projection in ("q_proj", "k_proj", "v_proj"):
        yield from _linear(f"backbone.attnpool.{projection}", channels, channels)
    yield from _linear("backbone.attnpool.c_proj", sizes.embed, channels)


def _vit(sizes: Sizes) -> Shapes:
    width = sizes.width
    yield from _conv("backbone.conv1", width, 3, 16)
    yield "backbone.class_embedding", (width,)
    yield "backbone.positional_embedding", ((sizes.image_size // 16) ** 2 + 1, width)
    yield "backbone.proj", (width, sizes.embed)
    yield from [*_norm("backbone.ln_pre", width), *_norm("backbone.ln_post", width)]
    yield from _transformer("backbone.transformer", width, *sizes.layers)
    for name in ("fpn1.0", "fpn2.0", "fpn3", "fpn4.0"):
        yield from _norm(f"backbone.{name}", width)
    for name in ("fpn1.1", "fpn1.4", "fpn2.1"):
        yield from _conv(f"backbone.{name}", width, width, 2, bias=True)
    yield from _norm("backbone.fpn1.2", width, batch=True)


def _text(sizes: Sizes) -> Shapes:
    width, layers, _ = sizes.text
    yield "text_encoder.token_embedding.weight", (49408, width)
    yield "text_encoder.positional_embedding", (POSITIONS, width)
    yield "text_encoder.text_projection", (width, sizes.embed)
    yield from _norm("text_encoder.ln_final", width)
    yield from _transformer("text_encoder.transformer", width, layers)


def _context_decoder(sizes: Sizes) -> Shapes:
    width, layers, _ = sizes.decoder
    for name in ("memory_proj", "text_proj"):
        yield from _norm(f"context_decoder.{name}.0", sizes.embed)
        yield from _linear(f"context_decoder.{name}.1", width, sizes.embed)
    yield from _norm("context_decoder.memory_proj.2", width)
    for layer in (f"context_decoder.decoder.{i}" for i in range(layers)):
        for attention in (f"{layer}.self_attn", f"{layer}.cross_attn"):
            for projection in ("q_proj", "k_proj", "v_proj"):
                yield from _linear(f"{attention}.{projection}", width, width, bias=False)
            yield from _linear(f"{attention}.proj", width, width)
        for i in (1, 2, 3):
            yield from _norm(f"{layer}.norm{i}", width)
        yield from [*_linear(f"{layer}.mlp.0", 4 * width, width), *_linear(f"{layer}.mlp.3", width, 4 * width)]
    yield from _norm("context_decoder.out_proj.0", width)
    yield from _linear("context_decoder.out_proj.1", sizes.embed, width)


def _fpn(sizes: Sizes) -> Shapes:
    for level, channels in enumerate(sizes.maps):
        yield from _conv(f"neck.lateral_convs.{level}.conv", sizes.fpn, channels, 1, bias=True)
        yield from _conv(f"neck.fpn_convs.{level}.conv", sizes.fpn, sizes.fpn, 3, bias=True)
        for step in range(max(1, level)):  # an up-sampling, which has no parameters, follows each but at level 0
            name = f"decode_head.scale_heads.{level}.{2 * step}"
            yield from [*_conv(f"{name}.conv", sizes.fpn, sizes.fpn, 3), *_norm(f"{name}.bn", sizes.fpn, batch=True)]
    yield from _conv("decode_head.conv_seg", sizes.classes, sizes.fpn, 1, bias=True)
