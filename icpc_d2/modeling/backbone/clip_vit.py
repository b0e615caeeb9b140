"""CLIP's plain vision transformers (ViT-B/16, B/32, L/14, ... and a tiny one) as a Detectron2 backbone."""

from collections import OrderedDict
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from torch import Tensor, nn

from icpc_d2.modeling import clip
from icpc_d2.modeling.backbone.freezing import drop_rates, freeze_stages, vit_stages
from icpc_d2.modeling.backbone.image_encoder import LEVELS, ImageEncoder, wants_embeddings

PATCH_STRIDES = {14: 16, 16: 16, 32: 32}  # pixels of a patch's side -> stride of the dense embedding


class ClipViT(ImageEncoder):
    """open_clip's VisionTransformer; four of its blocks, brought to strides 4, 8, 16 and 32, and both embeddings."""

    def __init__(
        self,
        architecture: str,
        out_features: list[str],
        blocks: list[int],
        drop_path: float = 0.1,
        norm: str = "SyncBN",
        image_size: int = 0,
        freeze_at: int = 0,
    ) -> None:
        """
        Args:
            architecture: see :func:`icpc_d2.modeling.clip.get_architecture`; its image encoder must be a ViT with
                patches of 14, 16 or 32 pixels.
            out_features: any of res2..res5 (strides 4, 8, 16, 32), ``global_embed``, ``dense_embed`` (stride 16; 32
                for patches of 32). Maps of other patches than 16 are interpolated to these strides.
            blocks: the blocks (0-based) that res2..res5 are made from; empty: DenseCLIP's 3, 5, 7 and 11 of twelve,
                at the same shares of the depth.
            drop_path: stochastic depth of the last block, in [0, 1); the blocks before rise to it linearly from 0.
            norm: normalization between the two transposed convolutions of res2, as `detectron2.layers.get_norm`.
            image_size: side in pixels of the square image that positions are stored for; 0: the architecture's.
            freeze_at: stages that do not train, see `icpc_d2.modeling.backbone.freezing`.

        Raises:
            ValueError: if the architecture is not such a ViT, or has fewer blocks or stages than asked for.
        """
        super().__init__()
        config = clip.get_architecture(architecture)
        vision = config["vision_cfg"]
        if isinstance(vision["layers"], (list, tuple)) or vision["patch_size"] not in PATCH_STRIDES:
            raise ValueError(
                f"MODEL.CLIP.ARCH {architecture!r} has no vision transformer with patches of 14, 16 or 32 pixels, but "
                "MODEL.BACKBONE.NAME asks for one; use 'build_clip_resnet_backbone', or 'ViT-B-16-quickgelu'"
            )
        blocks = list(blocks) or [round(vision["layers"] * share / 12) - 1 for share in (4, 6, 8, 12)]
        if len(blocks) != 4 or not 0 <= min(blocks) <= max(blocks) < vision["layers"]:
            raise ValueError(f"MODEL.CLIP.VIT_BLOCKS is {blocks}; wanted are four blocks of 0..{vision['layers'] - 1}")
        self.visual = clip.build_visual(architecture)
        grid_size = round((image_size or vision["image_size"]) / vision["patch_size"])
        position = clip.resize_grid(self.visual.positional_embedding.detach(), grid_size, grid_size)
        self.visual.positional_embedding = nn.Parameter(position)
        self.blocks, self.patch_size = blocks, vision["patch_size"]
        freeze_stages(self.visual, vit_stages(blocks), freeze_at)
        self.drop_path = drop_rates(self.visual.transformer.resblocks, drop_path)
        self.has_embeddings = wants_embeddings(out_features)
        if not self.has_embeddings:
            self.visual.ln_post = self.visual.proj = None
        self.pyramid = _build_pyramid(vision["width"], norm)
        self.choose_outputs(out_features, [vision["width"]] * 4, config["embed_dim"], PATCH_STRIDES[self.patch_size])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalized images (B, 3, H, W), of 32 pixels a side or more -> the outputs by name.

        ``res2``..``res5`` are (B, width, H / stride, W / stride), ``global_embed`` (B, C),
        ``dense_embed`` (B, C, H / 16, W / 16), or of stride 32; all rounded down, a patch that is not whole left out.
        """
        stride = PATCH_STRIDES[self.patch_size]
        at_16, dense = ([side // step for side in images.shape[-2:]] for step in (16, stride))
        x, size = self._embed_patches(clip.fit_to_patches(images, self.patch_size))
        maps = {}
        for index, block in enumerate(self.visual.transformer.resblocks):
            x = clip.residual_block(block, x, self.drop_path[index])
            if index in self.blocks:
                maps[index] = clip.as_map(x[:, 1:], size, at_16)
        outputs = {n: self.pyramid[n](maps[i]) for n, i in zip(LEVELS, self.blocks, strict=True) if n in self._shapes}
        if self.has_embeddings:
            x = self.visual.ln_post(x) @ self.visual.proj
            outputs["global_embed"] = x[:, 0]
            outputs["dense_embed"] = clip.as_map(x[:, 1:], size, dense)
        return {name: outputs[name] for name in self._shapes}

    def _embed_patches(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed (B, 3, H, W) as tokens (B, 1 + h * w, D), the class token first, and (h, w)."""
        x = self.visual.conv1(images)
        size = (x.shape[-2], x.shape[-1])
        x = x.flatten(2).transpose(1, 2)
        class_token = self.visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([class_token, x], dim=1) + clip.resize_grid(self.visual.positional_embedding, *size)
        return self.visual.ln_pre(x), size


def _build_pyramid(width: int, norm: str) -> nn.ModuleDict:
    """Build what brings maps of stride 16 to strides 4, 8, 16, 32, as DenseCLIP does it."""

    def steps(**modules: nn.Module) -> nn.Sequential:
        return nn.Sequential(OrderedDict(input_norm=nn.GroupNorm(1, width), **modules))

    up = partial(nn.ConvTranspose2d, width, width, kernel_size=2, stride=2)
    res2 = steps(up1=up(), norm=get_norm(norm, width), gelu=nn.GELU(), up2=up())
    return nn.ModuleDict(dict(res2=res2, res3=steps(up1=up()), res4=steps(), res5=steps(pool=nn.MaxPool2d(2))))


@BACKBONE_REGISTRY.register()
def build_clip_vit_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ClipViT:
    """Build CLIP's ViT `cfg.MODEL.CLIP.ARCH`."""
    keys = cfg.MODEL.CLIP
    of_vit, freeze_at = (keys.VIT_BLOCKS, keys.VIT_DROP_PATH, keys.VIT_NORM), cfg.MODEL.BACKBONE.FREEZE_AT
    return ClipViT(keys.ARCH, keys.OUT_FEATURES, *of_vit, keys.IMAGE_SIZE, freeze_at)
