"""DenseCLIP's forward, written from its description on its own names of weights; nothing here is the project's."""

from functools import cache

import torch
from open_clip import SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F

from tests.support.denseclip_shapes import CONTEXT, POSITIONS, Sizes

Weights = dict[str, Tensor]


def forward(w: Weights, sizes: Sizes, names: list[str], images: Tensor) -> tuple[Tensor, Tensor]:
    """Normalized images (B, 3, H, W) -> score map (B, K, h, w) and logits (B, K, H / 4, W / 4)."""
    maps, global_embed, dense = (_vit if sizes.is_vit else _resnet)(w, sizes, images)
    text = torch.stack([_encode_text(w, sizes, name) for name in names])[None]
    memory = torch.cat([global_embed[:, None], dense.flatten(2).transpose(1, 2)], dim=1)
    text = text + w["gamma"] * _decode_context(w, sizes, text.expand(len(images), -1, -1), memory)
    scores = torch.einsum("bchw,bkc->bkhw", F.normalize(dense, dim=1), F.normalize(text, dim=2))
    level = 2 if sizes.is_vit else 3
    maps[level] = torch.cat([maps[level], scores], dim=1)
    return scores, _segment(w, maps)


def _resnet(w: Weights, sizes: Sizes, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    for i, stride in ((1, 2), (2, 1), (3, 1)):
        x = _conv_norm(w, x, f"backbone.conv{i}", f"backbone.bn{i}", stride=stride, padding=1).relu()
    x = F.avg_pool2d(x, 2)
    maps = []
    for stage, blocks in enumerate(sizes.layers, start=1):
        for index in range(blocks):
            x = _bottleneck(w, f"backbone.layer{stage}.{index}", x, stride=2 if stage > 1 and index == 0 else 1)
        maps.append(x)
    pool = "backbone.attnpool"
    height, width = x.shape[2:]
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
    tokens = tokens + _positions(w[f"{pool}.positional_embedding"], height, width)
    q, k, v = (_linear(w, f"{pool}.{name}", tokens) for name in ("q_proj", "k_proj", "v_proj"))
    tokens = _linear(w, f"{pool}.c_proj", _attend(q, k, v, sizes.heads))
    return maps, tokens[:, 0], tokens[:, 1:].transpose(1, 2).unflatten(2, (height, width))


def _bottleneck(w: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    out = _conv_norm(w, x, f"{name}.conv1", f"{name}.bn1").relu()
    out = _conv_norm(w, out, f"{name}.conv2", f"{name}.bn2", padding=1).relu()
    out = _conv_norm(w, F.avg_pool2d(out, stride), f"{name}.conv3", f"{name}.bn3")
    if f"{name}.downsample.0.weight" in w:
        x = _conv_norm(w, F.avg_pool2d(x, stride), f"{name}.downsample.0", f"{name}.downsample.1")
    return (out + x).relu()


def _vit(w: Weights, sizes: Sizes, images: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    patches = F.conv2d(images, w["backbone.conv1.weight"], stride=16)
    height, width = patches.shape[2:]
    class_embedding = w["backbone.class_embedding"]
    position = _positions(w["backbone.positional_embedding"], height, width)
    tokens = torch.cat([class_embedding.expand(len(images), 1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
    tokens = tokens + torch.cat([position[:1] + class_embedding, position[1:]])  # the class embedding once more
    x = _layer_norm(w, "backbone.ln_pre", tokens)
    blocks = []
    for index in range(sizes.layers[0]):
        x = _transformer_block(w, f"backbone.transformer.resblocks.{index}", x, sizes.heads)
        blocks.append(x[:, 1:].transpose(1, 2).unflatten(2, (height, width)))
    normed = [_group_norm(w, f"backbone.{name}", blocks[i]) for name, i in zip(NORMS, sizes.taps, strict=True)]
    finest = _up(w, "backbone.fpn1.1", normed[0])
    finest = _up(w, "backbone.fpn1.4", F.gelu(_batch_norm(w, "backbone.fpn1.2", finest)))
    maps = [finest, _up(w, "backbone.fpn2.1", normed[1]), normed[2], F.max_pool2d(normed[3], 2)]
    x = _layer_norm(w, "backbone.ln_post", x) @ w["backbone.proj"]
    return maps, x[:, 0], x[:, 1:].transpose(1, 2).unflatten(2, (height, width))


NORMS = ("fpn1.0", "fpn2.0", "fpn3", "fpn4.0")


def _encode_text(w: Weights, sizes: Sizes, name: str) -> Tensor:
    """A class name -> (C,); the prompt is padded with zeros to 13 tokens, as DenseCLIP does."""
    tokenizer = _tokenizer()
    ids = [tokenizer.sot_token_id, *tokenizer.encode(name), tokenizer.eot_token_id]
    end = CONTEXT + len(ids) - 1
    ids += [0] * (POSITIONS - CONTEXT - len(ids))
    embedded = w["text_encoder.token_embedding.weight"][ids]
    x = torch.cat([embedded[:1], w["contexts"][0], embedded[1:]]) + w["text_encoder.positional_embedding"]
    mask = torch.full((POSITIONS, POSITIONS), float("-inf")).triu(1)
    _, layers, heads = sizes.text
    for index in range(layers):
        x = _transformer_block(w, f"text_encoder.transformer.resblocks.{index}", x, heads, mask)
    return _layer_norm(w, "text_encoder.ln_final", x)[end] @ w["text_encoder.text_projection"]


_tokenizer = cache(SimpleTokenizer)


def _decode_context(w: Weights, sizes: Sizes, text: Tensor, memory: Tensor) -> Tensor:
    prefix = "context_decoder"
    memory = _linear(w, f"{prefix}.memory_proj.1", _layer_norm(w, f"{prefix}.memory_proj.0", memory))
    memory = _layer_norm(w, f"{prefix}.memory_proj.2", memory)
    x = _linear(w, f"{prefix}.text_proj.1", _layer_norm(w, f"{prefix}.text_proj.0", text))
    _, layers, heads = sizes.decoder
    for layer in (f"{prefix}.decoder.{i}" for i in range(layers)):
        normed = _layer_norm(w, f"{layer}.norm1", x)
        x = x + _decoder_attention(w, f"{layer}.self_attn", normed, normed, heads)
        x = x + _decoder_attention(w, f"{layer}.cross_attn", _layer_norm(w, f"{layer}.norm2", x), memory, heads)
        hidden = F.gelu(_linear(w, f"{layer}.mlp.0", _layer_norm(w, f"{layer}.norm3", x)))
        x = x + _linear(w, f"{layer}.mlp.3", hidden)
    return _linear(w, f"{prefix}.out_proj.1", _layer_norm(w, f"{prefix}.out_proj.0", x))


def _decoder_attention(w: Weights, name: str, x: Tensor, memory: Tensor, heads: int) -> Tensor:
    q, k, v = (_linear(w, f"{name}.{part}_proj", t) for part, t in (("q", x), ("k", memory), ("v", memory)))
    return _linear(w, f"{name}.proj", _attend(q, k, v, heads))


def _segment(w: Weights, maps: list[Tensor]) -> Tensor:
    """FPN and Semantic FPN."""
    laterals = [_conv(w, f"neck.lateral_convs.{i}.conv", x) for i, x in enumerate(maps)]
    for i in (3, 2, 1):
        laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size=laterals[i - 1].shape[2:], mode="nearest")
    total = None
    for level, lateral in enumerate(laterals):
        x = _conv(w, f"neck.fpn_convs.{level}.conv", lateral, padding=1)
        for step in range(max(1, level)):
            name = f"decode_head.scale_heads.{level}.{2 * step}"
            x = _conv_norm(w, x, f"{name}.conv", f"{name}.bn", padding=1).relu()
            if level:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        resized = x if total is None else F.interpolate(x, total.shape[2:], mode="bilinear", align_corners=False)
        total = resized if total is None else total + resized
    return _conv(w, "decode_head.conv_seg", total)


def _transformer_block(w: Weights, name: str, x: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    projected = F.linear(_layer_norm(w, f"{name}.ln_1", x), *(w[f"{name}.attn.in_proj_{end}"] for end in ENDS))
    x = x + _linear(w, f"{name}.attn.out_proj", _attend(*projected.chunk(3, dim=-1), heads, mask))
    hidden = _linear(w, f"{name}.mlp.c_fc", _layer_norm(w, f"{name}.ln_2", x))
    return x + _linear(w, f"{name}.mlp.c_proj", hidden * torch.sigmoid(1.702 * hidden))


ENDS = ("weight", "bias")


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)) for x in (q, k, v))
    scores = torch.einsum("...nhd,...mhd->...hnm", q, k) / q.shape[-1] ** 0.5
    weights = (scores if mask is None else scores + mask).softmax(dim=-1)
    return torch.einsum("...hnm,...mhd->...nhd", weights, v).flatten(-2)


def _positions(embedding: Tensor, height: int, width: int) -> Tensor:
    side = round((len(embedding) - 1) ** 0.5)
    grid = embedding[1:].T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)
    return torch.cat([embedding[:1], grid[0].flatten(1).T])


def _linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def _layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def _group_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.group_norm(x, 1, w[f"{name}.weight"], w[f"{name}.bias"])


def _batch_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.batch_norm(x, *(w[f"{name}.{end}"] for end in ("running_mean", "running_var", "weight", "bias")))


def _conv(w: Weights, name: str, x: Tensor, **kwargs: int) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), **kwargs)


def _conv_norm(w: Weights, x: Tensor, conv: str, norm: str, **kwargs: int) -> Tensor:
    return _batch_norm(w, norm, _conv(w, conv, x, **kwargs))


def _up(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2)
