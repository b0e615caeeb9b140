"""The figures of ``icpc visualize``: each takes the command line, and calls the plot with what the models give."""

from argparse import Namespace
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.evaluation import inference_on_dataset

from icpc_d2.data.scenes.captioned import STYLES, draw_captioned_scene
from icpc_d2.engine import Trainer
from icpc_d2.engine.run_folder.metrics import find_runs, metric_curve
from icpc_d2.evaluation import SemSegEvaluator
from icpc_d2.evaluation.evaluators import order_in
from icpc_d2.evaluation.label_maps import LabelMaps
from icpc_d2.tools.visualize.inspection import embeddings, nearest_words, score_maps
from icpc_d2.tools.visualize.trained import (
    LabeledImage,
    Trained,
    dataset_samples,
    find_dataset,
    find_palette,
    largest_classes,
    load_aligned,
    load_trained,
    split_title,
)
from icpc_d2.visualization.captioned_images import CaptionedImage, draw_captioned_images
from icpc_d2.visualization.confusion import draw_confusion
from icpc_d2.visualization.curves import draw_curves
from icpc_d2.visualization.prompt_words import draw_prompt_words
from icpc_d2.visualization.regions import Regions, draw_regions
from icpc_d2.visualization.segmentations import Segmented, draw_segmentations
from icpc_d2.visualization.tsne import EmbeddedSet, draw_tsne


def overlay_figure(args: Namespace) -> None:
    """Draw images, their labels, and a model's predictions."""
    trained = load_trained(args.models[0])
    samples = _samples(args, trained)
    images = []
    for sample in samples:
        with torch.no_grad():
            (prediction,) = trained.model([trained.inputs(sample)])
        images.append(Segmented(sample.image, prediction["sem_seg"].argmax(dim=0).cpu().numpy(), sample.label))
    palette = find_palette(trained, None if args.images else find_dataset(trained, args.dataset))
    draw_segmentations(args.out, images, palette)


def regions_figure(args: Namespace) -> None:
    """Draw the score maps of some classes, a row for each image and model."""
    models = [load_aligned(source) for source in args.models]
    samples = _samples(args, models[0])
    classes = _classes(args, models, samples)
    level = args.level or models[0].model.alignment_loss.levels[0]
    rows = []
    for sample in samples:
        masks = None if sample.label is None else np.stack([sample.label == index for index in classes])
        for trained in models:
            (maps,) = score_maps(trained.model, [trained.inputs(sample)], level)
            rows.append(Regions(trained.title, sample.image, maps[classes].cpu().numpy(), masks))
    stride = 2 ** int(level[-1])
    draw_regions(args.out, rows, [models[0].names[index] for index in classes], f"score map A at stride {stride}")


def tsne_figure(args: Namespace) -> None:
    """Draw image and text embeddings in a plane, a panel for each model."""
    models = [load_aligned(source) for source in args.models]
    samples = _samples(args, models[0])
    classes = _classes(args, models, samples)
    sets = [_embed(trained, samples, classes, args) for trained in models]
    draw_tsne(args.out, sets, [models[0].names[index] for index in classes], args.seed)


def curves_figure(args: Namespace) -> None:
    """Draw a metric over the iterations."""
    found = {}
    for source in args.models:
        title, folder = split_title(source)
        found.setdefault(title, []).extend(metric_curve(run, args.metric) for run in find_runs(folder))
    draw_curves(args.out, found, f"{args.metric} (%)")


def confusion_figure(args: Namespace) -> None:
    """Evaluate a model, and draw which classes it takes for which."""
    trained = load_trained(args.models[0])
    dataset = find_dataset(trained, args.dataset)
    evaluator = SemSegEvaluator(dataset, order=order_in(trained.cfg, dataset))
    model = LabelMaps(trained.model) if hasattr(trained.model, "label_maps") else trained.model
    inference_on_dataset(model, Trainer.build_test_loader(trained.cfg, dataset), evaluator)
    draw_confusion(args.out, evaluator.confusion_matrix, trained.names, args.num_classes)


def prompts_figure(args: Namespace) -> None:
    """Draw the words nearest to a model's learned context vectors."""
    draw_prompt_words(args.out, nearest_words(load_aligned(args.models[0]).model, args.num_words))


def scenes_figure(args: Namespace) -> None:
    """Draw captioned scenes, a row each, in all styles."""
    if args.num_images < 1 or args.seed < 0:
        raise ValueError(f"found --num-images {args.num_images} --seed {args.seed}, wanted at least 1 and at least 0.")
    rows = []
    for index in range(args.num_images):
        scenes = [draw_captioned_scene((args.seed, index), style) for style in STYLES]
        rows.append([CaptionedImage(scene.image, scene.captions[0]) for scene in scenes])
    draw_captioned_images(args.out, rows, STYLES)


def _samples(args: Namespace, trained: Trained) -> list[LabeledImage]:
    if args.images:
        return [LabeledImage(name) for name in args.images]
    return dataset_samples(trained, args.dataset, args.num_images)


def _classes(args: Namespace, models: Sequence[Trained], samples: Sequence[LabeledImage]) -> list[int]:
    """Return the indices of the classes asked for; by default of the largest ones.

    Raises:
        ValueError: a name is unknown, or the models have different classes.
    """
    first, names = models[0], models[0].names
    for other in models:
        if other.names != names:
            raise ValueError(f"{first.title} and {other.title} were trained for different classes: draw one at a time.")
    if not args.classes:
        return largest_classes(samples, len(names), args.num_classes)
    asked = [name.strip() for name in args.classes.split(",")]
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise ValueError(f"--classes has {unknown}; the model knows {', '.join(names)}.")
    return [names.index(name) for name in asked]


def _embed(trained: Trained, samples: Sequence[LabeledImage], classes: list[int], args: Namespace) -> EmbeddedSet:
    """Embed some image positions, and the classes: once if no image changes them, else once per image."""
    images, texts = [], []
    for sample in samples:
        (found,) = embeddings(trained.model, [trained.inputs(sample)])
        images.append(found.dense.flatten(1).T)
        texts.append((found.refined if args.refined else found.prompted)[classes])
    if all(torch.equal(text, texts[0]) for text in texts):
        texts = texts[:1]
    positions = torch.cat(images)
    chosen = torch.randperm(len(positions), generator=torch.Generator().manual_seed(args.seed))[: args.points]
    title = f"{trained.title} (prompt: {trained.cfg.MODEL.PROMPT.NAME})"
    numbers = np.tile(np.arange(len(classes)), len(texts))
    return EmbeddedSet(
        title, positions[chosen.to(positions.device)].cpu().numpy(), torch.cat(texts).cpu().numpy(), numbers
    )
