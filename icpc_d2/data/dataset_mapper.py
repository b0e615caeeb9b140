"""The mapper from a dataset dict (two file names) to the model's input (two tensors)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform

from icpc_d2.data.augmentation import PadTransform, RandomCrop, RandomScale
from icpc_d2.data.reading import BadFileError, read_image, read_label
from icpc_d2.data.resizing import ResizeShortestEdge

logger = logging.getLogger(__name__)


class SemSegDatasetMapper:
    """Reads an image and its label map, augments both, and returns tensors.

    Detectron2's ``DatasetMapper`` does not serve: it reads labels as 8-bit grey and pads them with 255 whatever the
    data set ignores.

    Args:
        is_train: read and return labels too.
        augmentations: applied in this order, to image and label alike.
        image_format: "RGB" or "BGR".
        ignore_label: the label value that is allowed besides the class ids.
        num_classes: label values from here on are errors; 0: not checked.
        label_colors: (r, g, b) -> id, for label files that have colours instead of ids.
    """

    @configurable
    def __init__(
        self,
        is_train: bool = True,
        *,
        augmentations: Sequence[T.Augmentation | Transform],
        image_format: str,
        ignore_label: int = 255,
        num_classes: int = 0,
        label_colors: Mapping[tuple[int, int, int], int] | None = None,
    ) -> None:
        self.is_train, self.augmentations = is_train, T.AugmentationList(augmentations)
        self.image_format, self.label_colors = image_format, label_colors
        self.ignore_label, self.num_classes = ignore_label, num_classes
        logger.info("Augmentations in %s: %s", "training" if is_train else "inference", list(augmentations))

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by the config and by the metadata of its training sets."""
        args: dict[str, Any] = {"is_train": is_train, "image_format": cfg.INPUT.FORMAT}
        if is_train:
            args |= _label_arguments(cfg.DATASETS.TRAIN)
            return args | {"augmentations": training_augmentations(cfg, args["ignore_label"])}
        resize = ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, cfg.INPUT.RESIZE)
        # Multi-scale testing resizes from the image as it is.
        return args | {"augmentations": [] if cfg.TEST.AUG.ENABLED else [resize]}

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """
        Args:
            dataset_dict: "file_name" and, for training, "sem_seg_file_name"; other keys are passed on.

        Returns:
            The same dict (a copy) with "image", (3, h, w) uint8; "height" and "width" of the image on disk; and for
            training "sem_seg", (h, w) int64.

        Raises:
            BadFileError: an unreadable file, a label map of another size than the image, an id out of range.
        """
        image = read_image(dataset_dict["file_name"], self.image_format)
        output = {**dataset_dict, "height": image.shape[0], "width": image.shape[1]}
        label = self.read_label(dataset_dict, image.shape[:2]) if self.is_train else None
        inputs = T.AugInput(image, sem_seg=label)
        self.augmentations(inputs)
        output["image"] = torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1)))
        if label is not None:
            output["sem_seg"] = torch.from_numpy(inputs.sem_seg.astype(np.int64))
        return output

    def read_label(self, dataset_dict: dict[str, Any], image_size: tuple[int, ...] | None = None) -> np.ndarray:
        """Read a label map, (H, W) uint8 or int32, and check it against the class ids and the image's size, if given.

        Raises:
            BadFileError: as of calling the mapper.
        """
        file_name = dataset_dict["sem_seg_file_name"]
        label = read_label(file_name, None, self.label_colors)
        if image_size is not None and label.shape != image_size:
            raise BadFileError(
                f"{file_name}: found a label map of {label.shape[0]} x {label.shape[1]} (height x width), wanted "
                f"{image_size[0]} x {image_size[1]} as {dataset_dict['file_name']}."
            )
        wrong = label[((label < 0) | (label >= self.num_classes)) & (label != self.ignore_label)]
        if self.num_classes and wrong.size:
            raise BadFileError(
                f"{file_name}: found the ids {np.unique(wrong)[:10].tolist()} in {wrong.size} pixels, wanted "
                f"0..{self.num_classes - 1} or {self.ignore_label} (ignore). Was the data set prepared?"
            )
        # Small types are augmented faster; until here, ids that do not fit into them must be seen as they are.
        fits = self.num_classes and max(self.num_classes - 1, self.ignore_label) <= 255
        return label.astype(np.uint8 if fits else np.int32)


def build_training_mapper(
    datasets: str | Sequence[str], augmentations: Sequence[T.Augmentation | Transform], image_format: str
) -> SemSegDatasetMapper:
    """Build the mapper of a training without a config; ids are checked by the metadata of its data sets."""
    arguments = _label_arguments([datasets] if isinstance(datasets, str) else datasets)
    return SemSegDatasetMapper(True, augmentations=augmentations, image_format=image_format, **arguments)


def training_augmentations(cfg: CfgNode, ignore_label: int) -> list[T.Augmentation | Transform]:
    """Build the paper's recipe, in the order in which mmsegmentation applies it; padded labels are `ignore_label`."""
    keys = cfg.INPUT
    flip = keys.RANDOM_FLIP
    augmentations = [RandomScale(keys.SCALE_RANGE, keys.MIN_SIZE_TRAIN[0], keys.MAX_SIZE_TRAIN, keys.RESIZE)]
    if keys.CROP.ENABLED:
        augmentations.append(RandomCrop(keys.CROP.SIZE, keys.CROP.SINGLE_CATEGORY_MAX_AREA, ignore_label))
    if flip != "none":
        augmentations.append(T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical"))
    if keys.COLOR_AUG_SSD:
        # Imported here: with it come a whole other model and its registrations.
        from detectron2.projects.point_rend import ColorAugSSDTransform

        augmentations.append(ColorAugSSDTransform(keys.FORMAT))
    if keys.CROP.ENABLED:
        # The mean pixel becomes zero when it is normalized.
        augmentations.append(PadTransform(keys.CROP.SIZE, cfg.MODEL.PIXEL_MEAN, ignore_label))
    return augmentations


def _label_arguments(dataset_names: Sequence[str]) -> dict[str, Any]:
    """Return what all training sets say about their labels, as arguments of the mapper; ValueError: they differ."""
    found, colors = {}, {}
    for name in dataset_names:
        metadata = MetadataCatalog.get(name)
        found[name] = (metadata.get("ignore_label", 255), len(metadata.get("stuff_classes", [])))
        colors |= metadata.get("label_colors", {})
    if len(set(found.values())) > 1:
        raise ValueError(
            f"DATASETS.TRAIN: sets that are trained together need one ignore label and one class list, found "
            f"(ignore label, classes) {found}."
        )
    ignore_label, num_classes = next(iter(found.values()), (255, 0))
    return {"ignore_label": ignore_label, "num_classes": num_classes, "label_colors": colors}
