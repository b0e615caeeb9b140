"""Zero-shot figures: how much a CLIP of pictures and captions knows, without a label, of scenes that it has not seen.

Shapes: N scenes, M texts, C joint embedding width, K names of classes, kinds or colours.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.data.captioned_pictures import caption_tokens, stack_tokens
from icpc_d2.data.scenes.archive import SceneRecord
from icpc_d2.modeling.contrastive_clip import ContrastiveCLIP

# A name's embedding is the mean over these, as CLIP's ensembles are.
TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "a scene with a {}.", "a {}.")
BATCH = 50
CAR = "car"


@torch.no_grad()
def evaluate_zero_shot(
    model: ContrastiveCLIP,
    scenes: Sequence[SceneRecord],
    names_of_kinds: dict[str, tuple[str, ...]],
    classes: Sequence[str],
    ignore_label: int = 255,
) -> dict[str, float]:
    """Ask a model what scenes show, which colour the car has, which caption belongs to which, and where classes are.

    Args:
        scenes: that it was not trained on.
        names_of_kinds: all names of each kind of things.
        classes: names of the label maps' classes, each of which is a kind, too, or has its own name alone.

    Returns:
        Figures in percent: "mAP" of the kinds and its "chance", "AP-car", ...; "car_color" by the image's embedding,
        "car_color_A" by the dense embedding that is nearest to any of the answers, and their chance; "R@1" and "R@5" of
        captions for images and of images for captions; "mIoU" of the alignment A, "IoU-car", ....
    """
    was_training = model.training
    model.eval()
    try:
        images, confusion = _embed_scenes(model, scenes, _embed_names(model, classes, names_of_kinds), ignore_label)
        return {
            **_kinds_seen(images, scenes, names_of_kinds, _embed_names(model, list(names_of_kinds), names_of_kinds)),
            **_car_colors(model, scenes),
            **_retrieved(model, images, scenes),
            **_segmented(confusion, classes),
        }
    finally:
        model.train(was_training)


def embed_captions(model: ContrastiveCLIP, texts: Sequence[str]) -> Tensor:
    """Embed texts as they are: normalized (M, C), on the CPU."""
    rows = [caption_tokens(text) for text in texts]
    return torch.cat([model.embed_texts(stack_tokens(rows[i : i + BATCH])).cpu() for i in range(0, len(rows), BATCH)])


def _embed_names(model: ContrastiveCLIP, names: Sequence[str], synonyms: dict[str, tuple[str, ...]]) -> Tensor:
    """Embed names as the means over their synonyms and all templates: normalized (K, C)."""
    means = []
    for name in names:
        words = dict.fromkeys((name, *synonyms.get(name, ())))
        means.append(embed_captions(model, [text.format(word) for word in words for text in TEMPLATES]).mean(dim=0))
    return F.normalize(torch.stack(means))


def _embedded(
    model: ContrastiveCLIP, scenes: Sequence[SceneRecord]
) -> Iterator[tuple[list[SceneRecord], Tensor, Tensor]]:
    """Yield some scenes at a time, with their embeddings (N, C) and their dense embeddings (N, C, h, w)."""
    for start in range(0, len(scenes), BATCH):
        batch = [scenes[index] for index in range(start, min(start + BATCH, len(scenes)))]
        pictures = torch.from_numpy(np.stack([scene.image for scene in batch])).permute(0, 3, 1, 2)
        yield batch, *model.embed_images(pictures)


def _embed_scenes(
    model: ContrastiveCLIP, scenes: Sequence[SceneRecord], classes: Tensor, ignore_label: int
) -> tuple[Tensor, np.ndarray]:
    """Embed all scenes, (N, C), and count pixels (K, K): those of a class in the labels, by the answer of A."""
    embedded, num_classes = [], len(classes)
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long)
    for batch, whole, dense in _embedded(model, scenes):
        embedded.append(whole.cpu())
        labels = torch.from_numpy(np.stack([scene.label for scene in batch])).to(model.device, torch.long)
        scores = torch.einsum("bchw,kc->bkhw", dense, classes.to(dense.device))
        answer = F.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=False).argmax(dim=1)
        labelled = labels != ignore_label
        pairs = labels[labelled] * num_classes + answer[labelled]
        confusion += pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes).cpu()
    return torch.cat(embedded), confusion.numpy()


def _kinds_seen(
    images: Tensor, scenes: Sequence[SceneRecord], names_of_kinds: dict[str, Any], kinds: Tensor
) -> dict[str, float]:
    """Rank the scenes by each kind: average precision, beside the share of scenes that show it, which is chance."""
    scores = (images @ kinds.T).numpy()
    figures, chances = {}, []
    for column, kind in enumerate(names_of_kinds):
        shown = np.array([any(thing[0] == kind for thing in scene.things) for scene in scenes])
        if 0 < shown.sum() < len(shown):
            figures[f"AP-{kind}"] = 100 * average_precision(scores[:, column], shown)
            chances.append(100 * shown.mean())
    return {"mAP": float(np.mean([*figures.values()])), "mAP_chance": float(np.mean(chances)), **figures}


def average_precision(scores: np.ndarray, is_positive: np.ndarray) -> float:
    """Return the mean, over the positives, of the precision at their rank; those of equal scores are ranked as given.

    Args:
        scores: (N,), the highest first.
        is_positive: (N,) bool, with a True.
    """
    ranked = is_positive[np.argsort(-scores, kind="stable")]
    ranks = np.flatnonzero(ranked) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def _car_colors(model: ContrastiveCLIP, scenes: Sequence[SceneRecord]) -> dict[str, float]:
    """Choose among "a red car", "a blue car", ... where all cars of a scene have one colour that has a name.

    The whole picture's embedding chooses, and of the dense ones that which is nearest to one of these texts.
    """
    colors = [{thing[1] for thing in scene.things if thing[0] == CAR} for scene in scenes]
    asked = [index for index, found in enumerate(colors) if len(found) == 1 and None not in found]
    if not asked:
        return {}
    truth = [next(iter(colors[index])) for index in asked]
    names = sorted(set(truth))
    texts = embed_captions(model, [f"a {name} {CAR}" for name in names]).to(model.device)
    right = {"car_color": 0, "car_color_A": 0}
    meant = iter(truth)
    for batch, whole, dense in _embedded(model, [scenes[index] for index in asked]):
        wanted = torch.tensor([names.index(next(meant)) for _ in batch], device=model.device)
        by_place = torch.einsum("bchw,kc->bkhw", dense, texts).amax(dim=(2, 3))
        for figure, scores in (("car_color", whole @ texts.T), ("car_color_A", by_place)):
            right[figure] += int((scores.argmax(dim=1) == wanted).sum())
    shares = {figure: 100 * count / len(asked) for figure, count in right.items()}
    return {**shares, "car_color_chance": 100 / len(names)}


def _retrieved(model: ContrastiveCLIP, images: Tensor, scenes: Sequence[SceneRecord]) -> dict[str, float]:
    """Find the first caption of each scene among all, and the reverse; one that reads the same is right, too."""
    captions = [scene.captions[0] for scene in scenes]
    similarity = images @ embed_captions(model, captions).T
    same = torch.tensor([[one == other for other in captions] for one in captions])
    figures = {}
    for way, scores in (("captions", similarity), ("images", similarity.T)):
        order = scores.argsort(dim=1, descending=True)
        for count in (1, 5):
            found = same.gather(1, order[:, :count]).any(dim=1)
            figures[f"R@{count}_{way}"] = 100 * float(found.float().mean())
    return figures


def _segmented(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Return the IoU of each class that the labels have, and their mean."""
    right, labelled = np.diag(confusion), confusion.sum(axis=1)
    union = labelled + confusion.sum(axis=0) - right
    ious = {
        f"IoU-{name}": 100 * float(right[index] / union[index]) for index, name in enumerate(classes) if labelled[index]
    }
    return {"mIoU": float(np.mean([*ious.values()])), **ious}
