"""CLIP itself, both towers trained together on pictures and captions, for `icpc pretrain`.

Shapes: B pictures with a caption each, M close-ups with one each, L tokens of the longest caption, C joint embedding
width.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from detectron2.utils import comm
from open_clip.loss import ClipLoss
from torch import Tensor, nn
from torch.nn import functional as F

from icpc_d2.modeling import clip
from icpc_d2.modeling.backbone.image_encoder import ImageEncoder

# CLIP keeps its learned scale of the cosines below this, for the training to be stable.
HIGHEST_SCALE = 100.0
# A mosaic has so many close-ups a side.
TILES = 2


@META_ARCH_REGISTRY.register()
class ContrastiveCLIP(nn.Module):
    """An image encoder of ours and CLIP's text encoder under open_clip's symmetrical contrastive loss.

    The parameters have open_clip's names (``visual.*``, ``transformer.*``, ...), so that ``MODEL.WEIGHTS`` of any model
    here takes its weights as those of another CLIP.
    """

    @configurable
    def __init__(
        self,
        *,
        encoder: ImageEncoder,
        architecture: str,
        temperature: float,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
    ) -> None:
        """
        Args:
            encoder: its outputs are the two embeddings.
            architecture: see :func:`icpc_d2.modeling.clip.get_architecture`; the text encoder is built by it.
            temperature: that the cosines are divided by when training starts; it is learned.
            pixel_mean, pixel_std: of the three channels, in 0..255.
        """
        super().__init__()
        self.visual = encoder.visual
        # The encoder's parameters are all `visual`'s; as a child it would give them a second name.
        self._encode_images = encoder.forward
        text = clip.build_text_model(architecture)
        self.token_embedding, self.transformer = text.token_embedding, text.transformer
        self.positional_embedding, self.text_projection = text.positional_embedding, text.text_projection
        self.ln_final = text.ln_final
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Build the image encoder and read the rest."""
        return {
            "encoder": build_backbone(cfg),
            "architecture": cfg.MODEL.CLIP.ARCH,
            "temperature": cfg.PRETRAIN.TEMPERATURE,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    @property
    def device(self) -> torch.device:
        """Where images are computed."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Compute the losses of a batch, whose negatives are those of all processes.

        "loss_clip" compares pictures with captions, as CLIP does. "loss_mosaic" compares the dense embeddings of
        close-ups, each seen among three others, with their captions, after CLIM (Wu et al., AAAI 2024): an embedding is
        to say what is where it is, which the loss of whole pictures does not ask for.

        Args:
            batched_inputs: of one element, the whole batch: "images", (B, 3, H, W) uint8, and "tokens", (B, L); with
                close-ups "close_ups", (M, 3, h, h), M a multiple of 4, and "close_up_tokens", (M, L).
        """
        (batch,) = batched_inputs
        with torch.no_grad():
            self.logit_scale.clamp_(0, math.log(HIGHEST_SCALE))
        image, _ = self.embed_images(batch["images"])
        losses = {"loss_clip": self._contrast(image, batch["tokens"])}
        if "close_ups" in batch:
            losses["loss_mosaic"] = self._contrast(self.embed_close_ups(batch["close_ups"]), batch["close_up_tokens"])
        return losses

    def _contrast(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Compare image embeddings (B, C) with the captions that belong to them, in both directions."""
        # Gradients flow to the other processes too, so that the sum over them is the gradient of the whole batch.
        loss = ClipLoss(gather_with_grad=True, rank=comm.get_rank(), world_size=comm.get_world_size())
        texts = self.embed_texts(tokens)
        with torch.autocast(self.device.type, enabled=False):
            return loss(images, texts, self.logit_scale.exp())

    def embed_close_ups(self, close_ups: Tensor) -> Tensor:
        """Embed (M, 3, h, h), four at a time as one picture of 2h x 2h, by their dense embeddings' mean: (M, C)."""
        _, dense = self.embed_images(make_mosaics(close_ups))
        tiles = F.adaptive_avg_pool2d(dense, TILES)  # (M / 4, C, 2, 2)
        return F.normalize(tiles.permute(0, 2, 3, 1).flatten(0, 2))

    def embed_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed (B, 3, H, W), 0..255: normalized global (B, C) and dense embeddings (B, C, h, w)."""
        images = (images.to(self.device, non_blocking=True).float() - self.pixel_mean) / self.pixel_std
        outputs = self._encode_images(images)
        return F.normalize(outputs["global_embed"].float()), F.normalize(outputs["dense_embed"].float())

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Embed (B, L) token ids with EOT as the highest of each row, 0 behind it: normalized (B, C)."""
        tokens = tokens.to(self.device, non_blocking=True)
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block in self.transformer.resblocks:
            x = clip.residual_block(block, x, is_causal=True)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), tokens.argmax(dim=1)])
        return F.normalize((x @ self.text_projection).float())


def make_mosaics(pictures: Tensor) -> Tensor:
    """Lay each four of the pictures (M, 3, h, w) side by side, row by row: (M / 4, 3, 2h, 2w)."""
    tiles = pictures.unflatten(0, (-1, TILES, TILES))  # (M / 4, 2, 2, 3, h, w)
    return tiles.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
