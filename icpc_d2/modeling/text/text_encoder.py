"""CLIP's text encoder, frozen.

Shapes: B images (1 if the context holds nothing of an image), K classes of M names, L tokens of a prompt, D width, C
joint embedding width.
"""

import torch
from torch import Tensor, nn

from icpc_d2.modeling import clip
from icpc_d2.modeling.text.class_tokens import ClassTokens
from icpc_d2.modeling.text.prompts import Context


class TextEncoder(nn.Module):
    """Class names in the context of a prompt -> text embeddings.

    The parameters are CLIP's, by their names in open_clip; they take no gradient and stay in eval mode, while gradients
    pass through to the context.
    """

    def __init__(self, architecture: str) -> None:
        """
        Args:
            architecture: see :func:`icpc_d2.modeling.clip.get_architecture`.
        """
        super().__init__()
        model = clip.build_text_model(architecture)
        self.token_embedding = model.token_embedding
        self.positional_embedding = model.positional_embedding
        self.transformer = model.transformer
        self.ln_final = model.ln_final
        self.text_projection = model.text_projection
        self.context_length, self.width = self.positional_embedding.shape
        self.channels = self.text_projection.shape[1]
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "TextEncoder":
        """Stay in eval mode, whatever the mode."""
        return super().train(False)

    def forward(self, tokens: ClassTokens, context: Context) -> Tensor:
        """Embed the whole prompt ``[SOT, V, I, name, EOT]`` (Eq. 2) of each class for each image.

        A class with several names is embedded as their average, see :meth:`ClassTokens.average`.

        Returns:
            (B, K, C), with B = 1 if `context` holds nothing of an image.
        """
        prefix, num_names = self.embed_prefix(tokens, context), len(tokens.ids)
        names = self.token_embedding(tokens.ids)
        x = torch.cat(
            [prefix[:, None].expand(-1, num_names, -1, -1), names.expand(len(prefix), -1, -1, -1)], dim=2
        )  # (B, M, L, D)
        x = (x + self.positional_embedding[: x.shape[2]]).flatten(0, 1)
        for block in self.transformer.resblocks:
            x = clip.residual_block(block, x, is_causal=True)
        # Behind EOT stands padding alone, which nothing before it has seen.
        eot_positions = (prefix.shape[1] + tokens.eot_positions).repeat(len(prefix))
        x = self.ln_final(x[torch.arange(len(x), device=x.device), eot_positions])
        return tokens.average((x @ self.text_projection).unflatten(0, (-1, num_names)))

    def embed_prefix(self, tokens: ClassTokens, context: Context) -> Tensor:
        """Return the tokens ``[SOT, V, I]`` that stand before the name, (B, n, D), without their positions."""
        batch = 1 if context.per_image is None else len(context.per_image)
        parts = [self.token_embedding(tokens.prefix), context.shared, context.per_image]
        return torch.cat([part.expand(batch, -1, -1) for part in parts if part is not None], dim=1)
