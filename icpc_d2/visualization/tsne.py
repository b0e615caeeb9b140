"""t-SNE of image and text embeddings, as the paper's Figure 3."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icpc_d2.visualization.figure import clear_axes, group_style, saved_figure

PANEL = 3.4
MAX_PERPLEXITY = 30.0


class EmbeddedSet(NamedTuple):
    """A model's embeddings of some images and of the class names."""

    title: str  # of the panel
    images: np.ndarray  # (n, C), of image positions
    texts: np.ndarray  # (m, C), of class names, perhaps one per image and class
    classes: np.ndarray  # (m,), which of the names each of them is


def project(images: np.ndarray, texts: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bring both kinds of embeddings, (n, C) and (m, C), into one plane: (n, 2) and (m, 2).

    Their lengths do not count, as they do not in the score maps.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: there are fewer than four embeddings.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError("t-SNE needs scikit-learn: run `pip install 'icpc_d2[figures]'`.") from error
    together = np.concatenate([images, texts]).astype(np.float64)
    if len(together) < 4:
        raise ValueError(f"found {len(together)} embeddings; t-SNE wants at least 4: take more images.")
    together /= np.linalg.norm(together, axis=1, keepdims=True).clip(min=1e-12)
    perplexity = min(MAX_PERPLEXITY, (len(together) - 1) / 3)
    # On the unit sphere, Euclidean distances order pairs as their cosines do.
    points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(together)
    return points[: len(images)], points[len(images) :]


def draw_tsne(path: str | Path, sets: Sequence[EmbeddedSet], names: Sequence[str], seed: int = 0) -> None:
    """Draw a panel for each model: image positions in black, each class's text embeddings in a style of its own.

    Args:
        path: see :func:`icpc_d2.visualization.figure.saved_figure`.
        names: of the classes.
    """
    with saved_figure(path, PANEL * len(sets) + 1.3, PANEL) as figure:
        axes = figure.subplots(1, len(sets), squeeze=False)[0]
        for panel, embedded in zip(axes, sets, strict=True):
            images, texts = project(embedded.images, embedded.texts, seed)
            panel.scatter(*images.T, s=3, color="black", alpha=0.35, linewidths=0, label="image", rasterized=True)
            for index, name in enumerate(names):
                color, marker = group_style(index)
                points = texts[embedded.classes == index]
                panel.scatter(
                    *points.T, s=26, color=color, marker=marker, edgecolors="white", linewidths=0.5, label=name
                )
            panel.set_title(embedded.title)
            clear_axes(panel)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", markerscale=1.2)
