"""Images of a model's predictions, drawn while it is evaluated."""

import os
from collections.abc import Sequence
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils.file_io import PathManager
from PIL import Image

from icpc_d2.data.reading import read_image, read_label
from icpc_d2.data.shared_class_list import SharedClasses
from icpc_d2.evaluation.outputs import label_map
from icpc_d2.visualization import Palette, comparison


class ImageWriter(DatasetEvaluator):
    """Writes image | label | prediction of some samples as PNG. It measures nothing.

    Every evaluation draws the same samples over the images of the one before.
    """

    def __init__(
        self, dataset_name: str, output_dir: str, num_images: int, shared: SharedClasses | None = None
    ) -> None:
        """
        Args:
            dataset_name: registered data set with ``stuff_classes`` and, if it has them, ``stuff_colors``.
            output_dir: folder of the images, which are named for their samples.
            num_images: how many, spread evenly over the data set.
            shared: the classes that the data set shares with a model of other classes; the model's others are hatched.
        """
        metadata = MetadataCatalog.get(dataset_name)
        self._palette = Palette.from_metadata(metadata)
        self._label_colors = metadata.get("label_colors")
        self._output_dir = output_dir
        self._to_dataset = None if shared is None else shared.to_dataset
        self._labels = {
            sample["file_name"]: sample["sem_seg_file_name"]
            for sample in spread(DatasetCatalog.get(dataset_name), num_images)
        }

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Draw those of the batch that were chosen; `outputs` as for ``SemSegEvaluator``."""
        for sample, output in zip(inputs, outputs, strict=True):
            file_name = sample["file_name"]
            if file_name not in self._labels:
                continue
            prediction = label_map(output).cpu().numpy()
            if self._to_dataset is not None:
                prediction = self._to_dataset[prediction]
            drawn = comparison(
                read_image(file_name),
                read_label(self._labels[file_name], colors=self._label_colors),
                prediction,
                self._palette,
            )
            PathManager.mkdirs(self._output_dir)
            stem = os.path.splitext(os.path.basename(file_name))[0]
            with PathManager.open(os.path.join(self._output_dir, f"{stem}.png"), "wb") as file:
                Image.fromarray(drawn).save(file, format="PNG")


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Choose `count` of the items (all, if there are fewer), evenly spread over them."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]
