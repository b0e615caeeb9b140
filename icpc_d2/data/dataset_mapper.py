"""The mapper from a dataset dict (two file names) to the model's input (two tensors)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform

from icpc_d2.data.augmentation import PadTransform, RandomCrop, RandomScale
from icpc_d2.data.class_matching import class_order, label_code_of
from icpc_d2.data.label_code import LabelCode
from icpc_d2.data.reading import BadFileError, check_ids, read_image, read_label
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
        value_range: of images of more than 8 bits, see :func:`icpc_d2.data.read_image`.
        label_codes: how the label files of each data set are read, by the "dataset_name" of the dataset dicts, which
            may be left out where all are read alike; empty: their values are class ids.
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
        label_codes: Mapping[str, LabelCode] | None = None,
        value_range: Sequence[float] = (),
    ) -> None:
        self.is_train, self.augmentations = is_train, T.AugmentationList(augmentations)
        self.image_format, self.value_range = image_format, tuple(value_range)
        self.label_codes = dict(label_codes or {})
        self.ignore_label, self.num_classes = ignore_label, num_classes
        logger.info("Augmentations in %s: %s", "training" if is_train else "inference", list(augmentations))

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by the config and by the metadata of its training sets."""
        args: dict[str, Any] = {"is_train": is_train, "image_format": cfg.INPUT.FORMAT}
        args["value_range"] = cfg.INPUT.VALUE_RANGE
        if is_train:
            args |= _label_arguments(cfg.DATASETS.TRAIN, cfg.MODEL.CLASS_NAMES)
            return args | {"augmentations": training_augmentations(cfg, args["ignore_label"])}
        resize = ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, cfg.INPUT.RESIZE)
        # Multi-scale testing resizes from the image as it is.
        return args | {"augmentations": [] if cfg.TEST.AUG.ENABLED else [resize]}

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """
        Args:
            dataset_dict: "file_name" and, for training, "sem_seg_file_name" and maybe "dataset_name"; other keys are
                passed on.

        Returns:
            The same dict (a copy) with "image", (3, h, w) uint8; "height" and "width" of the image on disk; and for
            training "sem_seg", (h, w) int64.

        Raises:
            BadFileError: an unreadable file, a label map of another size than the image, an id out of range.
        """
        image = read_image(dataset_dict["file_name"], self.image_format, self.value_range)
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
        label = read_label(file_name, None, self._label_code(dataset_dict))
        if image_size is not None and label.shape != image_size:
            raise BadFileError(
                f"{file_name}: found a label map of {label.shape[0]} x {label.shape[1]} (height x width), wanted "
                f"{image_size[0]} x {image_size[1]} as {dataset_dict['file_name']}."
            )
        check_ids(file_name, label, self.num_classes, self.ignore_label)
        # Small types are augmented faster; until here, ids that do not fit into them must be seen as they are.
        fits = self.num_classes and max(self.num_classes - 1, self.ignore_label) <= 255
        return label.astype(np.uint8 if fits else np.int32)

    def _label_code(self, dataset_dict: Mapping[str, Any]) -> LabelCode | None:
        codes, name = self.label_codes, dataset_dict.get("dataset_name")
        if name in codes:
            return codes[name]
        first, *others = codes.values() or [None]
        if any(code != first for code in others):
            raise ValueError(
                f"The data sets {', '.join(codes)} read their label files in different ways; wanted is the name of one "
                f"of them as 'dataset_name' of each dataset dict, found {name!r} for {dataset_dict['file_name']}."
            )
        return first


def named_dicts(dataset_names: Sequence[str]) -> list[dict[str, Any]]:
    """List the dataset dicts of registered sets, each with the "dataset_name" that says how its label file is read."""
    return [
        {**sample, "dataset_name": name}
        for name in dataset_names
        for sample in get_detection_dataset_dicts(name, filter_empty=False)
    ]


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


def _label_arguments(dataset_names: Sequence[str], class_names: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the training sets say about their labels, as arguments of the mapper; ValueError: they differ."""
    found, codes = {}, {}
    for name in dataset_names:
        metadata = MetadataCatalog.get(name)
        found[name] = (metadata.get("ignore_label", 255), len(metadata.get("stuff_classes", [])))
    if len(set(found.values())) > 1:
        raise ValueError(
            f"DATASETS.TRAIN: sets that are trained together need one ignore label and one class list, found "
            f"(ignore label, classes) {found}."
        )
    ignore_label, num_classes = next(iter(found.values()), (255, 0))
    for name in dataset_names:
        order = class_order(name, class_names, dataset_names[0]) if num_classes else None
        codes[name] = label_code_of(name, order)
    return {"ignore_label": ignore_label, "num_classes": num_classes, "label_codes": codes}
