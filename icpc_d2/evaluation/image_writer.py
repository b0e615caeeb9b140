"""Images of a model's predictions, drawn while it is evaluated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils.file_io import PathManager
from PIL import Image

from icpc_d2.data.reading import read_image, read_label
from icpc_d2.evaluation.label_maps import label_map
from icpc_d2.visualization import Palette, comparison


class ImageWriter(DatasetEvaluator):
    """Writes image | label | prediction of some samples, spread evenly over a data set, as PNG. It measures nothing.

    Every evaluation draws the same samples over the images of the one before. Of a model of other classes, those that
    the data set does not have are hatched.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str,
        num_images: int,
        to_dataset: np.ndarray | None = None,
        value_range: Sequence[float] = (),
    ) -> None:
        """
        Args:
            to_dataset: the data set's class that each of the model's is, -1 for none; None: the same.
            value_range: of images of more than 8 bits, see :func:`icpc_d2.data.read_image`.
        """
        self._metadata = MetadataCatalog.get(dataset_name)
        self._output_dir = output_dir
        self._to_dataset, self._value_range = to_dataset, value_range
        self._samples = {s["file_name"]: s for s in spread(DatasetCatalog.get(dataset_name), num_images)}
        stems = Counter(Path(file_name).stem for file_name in self._samples)
        # Images of several folders may have one name: then that of the folder goes before it.
        self._names = {
            name: "_".join(Path(name).with_suffix("").parts[-2 if stems[Path(name).stem] > 1 else -1 :])
            for name in self._samples
        }

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Draw those of the batch that were chosen; `outputs` as for ``SemSegEvaluator``."""
        for sample, output in zip(inputs, outputs, strict=True):
            file_name = sample["file_name"]
            if file_name not in self._samples:
                continue
            prediction = label_map(output).cpu().numpy()
            if self._to_dataset is not None:
                prediction = self._to_dataset[prediction]
            drawn = draw_sample(
                self._samples[file_name], prediction, metadata=self._metadata, value_range=self._value_range
            )
            PathManager.mkdirs(self._output_dir)
            with PathManager.open(f"{self._output_dir}/{self._names[file_name]}.png", "wb") as file:
                Image.fromarray(drawn).save(file, format="PNG")


def draw_sample(
    sample: Mapping[str, str],
    prediction: np.ndarray,
    alignment: np.ndarray | None = None,
    *,
    metadata: Metadata,
    value_range: Sequence[float] = (),
) -> np.ndarray:
    """Draw image | label | prediction of a data set's sample, (H', W', 3) uint8, RGB; and A's label map if given.

    Args:
        sample: has "file_name" and "sem_seg_file_name".
        prediction, alignment: label maps (H, W) of the image, of the data set's classes.
        value_range: of images of more than 8 bits.
    """
    label = read_label(sample["sem_seg_file_name"], code=metadata.get("label_code"))
    image = read_image(sample["file_name"], value_range=value_range)
    return comparison(image, label, prediction, Palette.from_metadata(metadata), alignment)


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Choose `count` of the items (all, if there are fewer), evenly spread over them."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]
