"""A model's output, in each of its forms, as a label map."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def label_map(output: Mapping[str, Any], candidates: Sequence[int] | None = None) -> Tensor:
    """Turn a model's output into a label map.

    Args:
        output: has "labels", a label map (H, W) of integers; or "prediction", whose `labels` makes one; or "sem_seg",
            scores (K, H, W) or a label map.
        candidates: ids of the classes to choose from, ascending; None: all.

    Returns:
        (H, W) int64.

    Raises:
        ValueError: there are candidates, but the output is a label map already.
    """
    if "prediction" in output:
        return output["prediction"].labels(candidates)
    sem_seg = output["labels"] if "labels" in output else output["sem_seg"]
    if candidates is None:
        return (sem_seg.argmax(dim=0) if sem_seg.ndim == 3 else sem_seg).to(torch.int64)
    if sem_seg.ndim == 2:
        raise ValueError(
            "The model returns label maps, from which nothing can be chosen any more: set TEST.SEM_SEG.LABEL_MAPS "
            "to False, or leave 'shared' out of TEST.CROSS_DOMAIN.CANDIDATES."
        )
    ids = torch.tensor(candidates, device=sem_seg.device)
    return ids[sem_seg[ids].argmax(dim=0)]
