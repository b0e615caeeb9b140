"""The trained models and the images that figures are drawn of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from torch import nn

from icpc_d2.checkpoint.checkpoint_folder import FINAL
from icpc_d2.data.class_matching import class_colors_of, class_order, label_code_of
from icpc_d2.data.dataset_mapper import SemSegDatasetMapper
from icpc_d2.data.folders import register_folders
from icpc_d2.data.label_code import LabelCode
from icpc_d2.data.reading import read_image, read_label
from icpc_d2.evaluation.image_writer import spread
from icpc_d2.inference.predictor import load_model
from icpc_d2.modeling import ICPC
from icpc_d2.visualization import Palette


@dataclass(frozen=True)
class LabeledImage:
    """The files of an image, and of its label map if it has one."""

    file_name: str
    label_file_name: str = ""
    label_code: LabelCode | None = None  # how label maps are read
    ignore_label: int = 255  # label value that is ignored
    value_range: Sequence[float] = ()  # of images of more than 8 bits

    @cached_property
    def image(self) -> np.ndarray:
        """The image, (H, W, 3) uint8, RGB."""
        return read_image(self.file_name, value_range=self.value_range)

    @cached_property
    def label(self) -> np.ndarray | None:
        """The label map, (H, W) int64, ids of classes or the ignore label."""
        return read_label(self.label_file_name, code=self.label_code) if self.label_file_name else None


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    title: str  # in figures
    cfg: CfgNode  # frozen
    model: nn.Module  # in eval mode
    names: list[str]  # of its classes

    def inputs(self, sample: LabeledImage) -> dict[str, Any]:
        """Read an image as the model takes it, resized as its config says."""
        return SemSegDatasetMapper(self.cfg, False)({"file_name": sample.file_name})


def split_title(source: str) -> tuple[str, Path]:
    """Split ``TITLE=PATH``; without a title it is the name of the run's folder."""
    title, separator, path = source.partition("=")
    if separator and not Path(source).exists():
        return title, Path(path)
    folder = Path(source).resolve()
    folder = folder.parent if folder.suffix == ".pth" else folder
    return folder.name, Path(source)


def load_trained(source: str) -> Trained:
    """Load ``[TITLE=]PATH``, a checkpoint or the output folder of a training, whose last weights then count.

    Raises:
        FileNotFoundError: there is no such checkpoint, or no config beside it.
        ValueError: weights and config do not fit.
    """
    title, path = split_title(source)
    cfg, model = load_model(path / FINAL if path.is_dir() else path)
    return Trained(title, cfg, model, list(cfg.MODEL.CLASS_NAMES))


def load_aligned(source: str) -> Trained:
    """Load a model as :func:`load_trained` does.

    Raises:
        ValueError: it compares no images with text.
    """
    trained = load_trained(source)
    if not isinstance(trained.model, ICPC):
        raise ValueError(
            f"{source} is a {type(trained.model).__name__}, which compares no text with images; ICPC and DenseCLIP do."
        )
    return trained


def dataset_samples(trained: Trained, dataset: str | None, count: int) -> list[LabeledImage]:
    """Choose images with labels that are evenly spread over a data set.

    Args:
        dataset: its name; None: the first one that the model is tested on.
        count: how many; all, if there are fewer.

    Raises:
        ValueError: there is no such data set, or it has other classes than the model.
    """
    name = find_dataset(trained, dataset)
    code = label_code_of(name, _order(trained, name))
    ignore_label, value_range = code.ignore_label, trained.cfg.INPUT.VALUE_RANGE
    return [
        LabeledImage(sample["file_name"], sample["sem_seg_file_name"], code, ignore_label, value_range)
        for sample in spread(DatasetCatalog.get(name), count)
    ]


def find_dataset(trained: Trained, dataset: str | None) -> str:
    """Return the name of a data set of the model's classes; arguments and errors as :func:`dataset_samples`."""
    name = dataset or next(iter(trained.cfg.DATASETS.TEST), "")
    register_folders([name], trained.cfg.DATASETS.SUFFIXES)
    if name not in DatasetCatalog.list():
        raise ValueError(f"there is no data set '{name}'; name one with --dataset, or images with --images.")
    _order(trained, name)
    return name


def _order(trained: Trained, dataset: str) -> list[int] | None:
    return class_order(dataset, trained.names, _training_set(trained))


def _training_set(trained: Trained) -> str:
    return next(iter(trained.cfg.DATASETS.TRAIN), "")


def largest_classes(samples: Sequence[LabeledImage], num_classes: int, count: int) -> list[int]:
    """Find the classes with most labelled pixels, at most `count`, in their own order.

    Raises:
        ValueError: there are no labels to look into.
    """
    pixels: Counter[int] = Counter()
    for sample in samples:
        if sample.label is None:
            raise ValueError("images without labels do not tell which classes matter; name some with --classes.")
        ids, counts = np.unique(sample.label[sample.label != sample.ignore_label], return_counts=True)
        pixels.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    present = Counter({index: pixels[index] for index in range(num_classes) if pixels[index]})
    return sorted(index for index, _ in present.most_common(count))


def find_palette(trained: Trained, dataset: str | None) -> Palette:
    """Return the colours of the model's classes: those of a data set, if it is given and has some."""
    metadata = MetadataCatalog.get(dataset) if dataset else Metadata()
    colors = class_colors_of(dataset, trained.names, _training_set(trained)) if dataset else []
    return Palette(trained.names, colors or None, metadata.get("ignore_label", 255))
