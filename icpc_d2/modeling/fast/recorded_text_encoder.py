"""The text encoder of packed prompts as a CUDA graph, where a GPU would wait for the processor.

An image's prompts are some 200 kernels, each of which computes for less time than it takes to start it.
"""

from torch import Tensor

from icpc_d2.modeling.fast.cuda_graphs import can_record
from icpc_d2.modeling.fast.dependencies import list_tensors
from icpc_d2.modeling.fast.packed_text_encoder import PackedTextEncoder
from icpc_d2.modeling.fast.packed_tokens import PackedClassTokens
from icpc_d2.modeling.text.prompts import Context

# Tokens of a batch up to which starting the kernels takes a GPU longer than computing them.
GRAPH_TOKENS = 4096


class RecordedTextEncoder(PackedTextEncoder):
    """A text encoder whose calls for images are recorded and replayed on a GPU; not if it is compiled."""

    graph_tokens = GRAPH_TOKENS  # 0: nothing is recorded

    def forward(self, tokens: PackedClassTokens, context: Context) -> Tensor:
        """Embed all classes: (B, K, C), with B = 1 if `context` holds nothing of an image."""
        per_image = context.per_image
        if per_image is None or not self._is_recorded(tokens, per_image):
            return super().forward(tokens, context)

        def encode(per_image: Tensor) -> Tensor:
            return self._encode(tokens, context._replace(per_image=per_image))

        weights = list_tensors(self, tokens, context.shared)
        return tokens.encodings.run(encode, per_image, weights, self.max_activation_mib)

    def _is_recorded(self, tokens: PackedClassTokens, per_image: Tensor) -> bool:
        num_tokens = len(per_image) * tokens.packed_ids.numel()
        return can_record(per_image) and not self.is_compiled and num_tokens <= self.graph_tokens
