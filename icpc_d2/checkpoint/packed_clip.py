"""A CLIP small enough to be shipped: half precision, and token embeddings of the tokens that it was trained on alone.

The others are drawn from a seed: no text that the training had uses them, so that random ones say as much. Of
`tiny-RN`'s 49,408 rows some hundred are left.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from icpc_d2.checkpoint.key_maps import OPTIONAL
from icpc_d2.checkpoint.model_file import to_half
from icpc_d2.files import atomically

EMBEDDING = "token_embedding.weight"
ROWS, IDS = "token_embedding.rows", "token_embedding.ids"
SEED = 0
SPREAD = 0.02  # standard deviation that CLIP's token embeddings start from


def write_packed(path: Path, weights: Mapping[str, Tensor], tokens: Iterable[int], quick_gelu: bool) -> None:
    """Write CLIP's weights, by open_clip's names, with the embeddings of these `tokens` alone.

    Raises:
        ValueError: a weight is beyond half precision, or a token is not in the vocabulary.
    """
    embedding, ids = weights[EMBEDDING], sorted(set(tokens))
    if not ids or ids[0] < 0 or ids[-1] >= len(embedding):
        raise ValueError(f"Tokens {ids[:1]}..{ids[-1:]} are not of a vocabulary of {len(embedding)}.")
    rest = {name: value for name, value in weights.items() if name != EMBEDDING and not name.endswith(OPTIONAL)}
    stored = {name: to_half(name, value.cpu()) for name, value in rest.items()}
    stored[ROWS] = to_half(EMBEDDING, embedding[ids].cpu())
    stored[IDS] = torch.tensor(ids, dtype=torch.int32)
    metadata = {"format": "pt", "quick_gelu": json.dumps(quick_gelu), "vocabulary": str(len(embedding))}
    with atomically(path) as temporary:
        save_file({name: value.contiguous().clone() for name, value in stored.items()}, temporary, metadata)
        temporary.chmod(0o644)  # safetensors writes for the owner alone, and this comes with a package


def is_packed(names: Iterable[str]) -> bool:
    """Tell a file of :func:`write_packed` by the names of its tensors."""
    return {ROWS, IDS} <= set(names)


def unpack_clip(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of a checkpoint, "model" and "quick_gelu", from what a packed file holds; in float32.

    Raises:
        ValueError: it does not say how large the vocabulary is.
    """
    if not metadata.get("vocabulary", "").isdigit() or "quick_gelu" not in metadata:
        raise ValueError("it holds the embeddings of some tokens, but not of how many, nor which activation it needs")
    unpacked = {name: value.float() for name, value in weights.items() if name not in (ROWS, IDS)}
    rows, ids = weights[ROWS].float(), weights[IDS].long()
    shape = int(metadata["vocabulary"]), rows.shape[1]
    embedding = torch.randn(shape, generator=torch.Generator().manual_seed(SEED)) * SPREAD
    embedding[ids] = rows
    return {"model": {**unpacked, EMBEDDING: embedding}, "quick_gelu": json.loads(metadata["quick_gelu"])}


def packed_quick_gelu(path: Path) -> bool:
    """Return whether a packed CLIP was trained with QuickGELU; its weights are not read."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["quick_gelu"])
