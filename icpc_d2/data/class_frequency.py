"""How often each class occurs in training labels, and what follows for unbalanced classes: weights, repeated images.

Shapes: N images, K classes.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from detectron2.utils import comm
from tabulate import tabulate
from torch import Tensor

from icpc_d2.data.reading import BadFileError

REPEAT_SAMPLER = "RepeatFactorTrainingSampler"
MAX_THREADS = 8


def count_pixels(
    dataset_dicts: Sequence[dict[str, Any]],
    read_label: Callable[[dict[str, Any]], np.ndarray],
    num_classes: int,
    skip_bad_files: bool = False,
) -> np.ndarray:
    """Count the labelled pixels of each class in each image, (N, K) int64; the processes of a run share the work.

    Args:
        read_label: returns the label map (H, W) of one of the `dataset_dicts`; ids from `num_classes` on do not count.
        skip_bad_files: count nothing in a file that cannot be used.

    Raises:
        BadFileError: a file cannot be used.
    """

    def count(dataset_dict: dict[str, Any]) -> np.ndarray:
        try:
            label = read_label(dataset_dict)
        except BadFileError:
            if not skip_bad_files:
                raise
            return np.zeros(num_classes, np.int64)
        return np.bincount(label.ravel(), minlength=num_classes)[:num_classes]

    rank, world_size = comm.get_rank(), comm.get_world_size()
    counts = np.zeros((len(dataset_dicts), num_classes), np.int64)
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        mine = list(pool.map(count, dataset_dicts[rank::world_size]))
    for part, rows in enumerate(comm.all_gather(mine)):
        if rows:
            counts[part::world_size] = rows
    return counts


def median_frequency_weights(counts: np.ndarray) -> list[float]:
    """Return the weights (K) of median frequency balancing (Eigen and Fergus, 2015) for `counts` (N, K).

    The frequency of a class is its pixels divided by all labelled pixels of the images that it is in; its weight is the
    median of all classes' frequencies divided by its own. A class that never occurs has the weight 1, which no training
    pixel then has.
    """
    in_images = ((counts > 0) * counts.sum(axis=1, keepdims=True)).sum(axis=0)
    occurs = in_images > 0
    frequencies = counts.sum(axis=0)[occurs] / in_images[occurs]
    weights = np.ones(counts.shape[1])
    weights[occurs] = np.median(frequencies) / frequencies if occurs.any() else 1.0
    return weights.tolist()


def repeat_factors(counts: np.ndarray, threshold: float, sqrt: bool) -> Tensor:
    """Return how often each image is drawn in an epoch, (N,) float32 of 1 or more, by Detectron2's own rule.

    A class that is in a share f of the images, below the `threshold` t, asks for sqrt(t / f), without `sqrt` for t / f;
    an image is repeated as the rarest of its classes asks.
    """
    present = [{"annotations": [{"category_id": int(k)} for k in np.flatnonzero(row)]} for row in counts]
    if not any(dataset_dict["annotations"] for dataset_dict in present):
        return torch.ones(len(counts))
    return RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(present, threshold, sqrt=sqrt)


def frequency_table(counts: np.ndarray, names: Sequence[str], weights: Sequence[float]) -> str:
    """Format a row for each class: its share of the labelled pixels, the share of images with it, and its weight."""
    pixels, images = counts.sum(axis=0) / max(counts.sum(), 1), (counts > 0).mean(axis=0)
    rows = [
        [name, f"{100 * p:.3f} %", f"{100 * i:.1f} %", f"{weight:.4g}" if p else "never occurs"]
        for name, p, i, weight in zip(names, pixels, images, weights, strict=True)
    ]
    headers = ["class", "of pixels", "of images", "weight"]
    return tabulate(rows, headers, colalign=("left", "right", "right", "right"), disable_numparse=True)
