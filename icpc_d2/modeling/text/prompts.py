"""The context of a prompt (Eq. 2 and 3) and its variants (Tables 3 and 4), one class each.

Each maps the global image embeddings (B, C) to the tokens that stand between SOT and the class name: those that all
images share (N, D) and those of each image (B, M, D), the shared ones first. D: width of the text encoder.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Context(NamedTuple):
    """The learned tokens of a prompt; None where a variant has none."""

    shared: Tensor | None = None  # (N, D)
    per_image: Tensor | None = None  # (B, M, D)


class Projector(nn.Sequential):
    """f_P of Eq. 3: the global image embedding (B, C) -> a token (B, D)."""

    def __init__(self, embed_channels: int, width: int, reduction: int) -> None:
        hidden = max(1, embed_channels // reduction)
        super().__init__(nn.Linear(embed_channels, hidden), nn.ReLU(), nn.Linear(hidden, width))


class LearnedPrompt(nn.Module):
    """Has the vectors V_1..V_N, which start as CoOp's ("coop") or DenseCLIP's ("denseclip"), and perhaps f_P."""

    learns_projector = False
    num_instance = 0  # tokens beside the vectors

    def __init__(
        self, num_context: int, embed_channels: int, width: int, projector_reduction: int, context_init: str = "coop"
    ) -> None:
        super().__init__()
        if context_init not in ("coop", "denseclip"):
            raise ValueError(f"MODEL.PROMPT.CONTEXT_INIT is {context_init!r}; wanted is 'coop' or 'denseclip'")
        self.num_context = num_context + self.num_instance
        # 0.02 is also the spread of CLIP's own token embeddings.
        self.vectors = nn.Parameter(torch.empty(num_context, width).normal_(std=0.02))
        if context_init == "denseclip":
            nn.init.trunc_normal_(self.vectors)  # a standard deviation of 1, cut off at 2
        if self.learns_projector:
            self.projector = Projector(embed_channels, width, projector_reduction)


class TemplatePrompt(nn.Module):
    """``a photo of a {}.``: nothing is learned; the words are in `ClassTokens`."""

    def __init__(self, num_context: int, embed_channels: int, width: int, projector_reduction: int) -> None:
        super().__init__()
        self.num_context = 0

    def forward(self, global_embed: Tensor) -> Context:
        """Return an empty context: a template has no learned tokens."""
        return Context()


class CoOpPrompt(LearnedPrompt):
    """``[V_1 .. V_N, CLS_k]``, DenseCLIP's."""

    def forward(self, global_embed: Tensor) -> Context:
        """Return the N shared vectors, whatever (B, C) is."""
        return Context(shared=self.vectors)


class InstancePrompt(nn.Module):
    """``[I, CLS_k]``."""

    def __init__(self, num_context: int, embed_channels: int, width: int, projector_reduction: int) -> None:
        super().__init__()
        self.num_context = 1
        self.projector = Projector(embed_channels, width, projector_reduction)

    def forward(self, global_embed: Tensor) -> Context:
        """Project (B, C) to one token per image."""
        return Context(per_image=self.projector(global_embed)[:, None])


class CoCoOpPrompt(LearnedPrompt):
    """``[V_1 + I .. V_N + I, CLS_k]``, CoCoOp's."""

    learns_projector = True

    def forward(self, global_embed: Tensor) -> Context:
        """Shift the vectors by what (B, C) is projected to: N tokens per image."""
        return Context(per_image=self.vectors + self.projector(global_embed)[:, None])


class ICPCPrompt(LearnedPrompt):
    """``[V_1 .. V_N, I, CLS_k]`` (Eq. 2)."""

    learns_projector = True
    num_instance = 1

    def forward(self, global_embed: Tensor) -> Context:
        """Return the N shared vectors, and (B, C) projected to one token per image."""
        return Context(shared=self.vectors, per_image=self.projector(global_embed)[:, None])


# By the names of MODEL.PROMPT.NAME; add your own. A prompt is built as ``cls(num_context, embed_channels, width,
# projector_reduction)``, a `LearnedPrompt` with ``context_init=`` besides, has an attribute `num_context` (the tokens
# that it inserts) and maps global image embeddings (B, C) to a `Context`.
PROMPTS: dict[str, type[nn.Module]] = {
    "template": TemplatePrompt,
    "coop": CoOpPrompt,
    "instance": InstancePrompt,
    "cocoop": CoCoOpPrompt,
    "icpc": ICPCPrompt,
}
