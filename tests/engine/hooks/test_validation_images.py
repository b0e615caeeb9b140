from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from icpc_d2.data.folders import register_folders
from icpc_d2.data.reading import read_label
from icpc_d2.engine.hooks.validation_images import ValidationImages
from tests.support.models import make_cfg
from tests.support.training import make_data


class Knowing(nn.Module):
    """Predicts the label map of an image, in the order of the model's classes."""

    def __init__(self, samples: list[dict[str, str]], order: list[int]) -> None:
        super().__init__()
        self.labels = {s["file_name"]: np.array(order)[read_label(s["sem_seg_file_name"])] for s in samples}

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        labels = [torch.from_numpy(self.labels[inputs["file_name"]]) for inputs in batch]
        return [{"sem_seg": nn.functional.one_hot(label.long(), 3).permute(2, 0, 1).float()} for label in labels]


def drawn(cfg: CfgNode, dataset: str, order: list[int]) -> list[np.ndarray]:
    images: list[np.ndarray] = []
    hook = ValidationImages(cfg, Knowing(DatasetCatalog.get(dataset), order), dataset)
    hook.trainer = SimpleNamespace(
        iter=0, max_iter=1, storage=SimpleNamespace(put_image=lambda _, image: images.append(image))
    )
    hook.before_train()
    hook.after_train()
    return images


def test_a_set_whose_classes_have_another_order_is_drawn_in_its_own(tmp_path: Path) -> None:
    dataset = f"folder:{make_data(tmp_path / 'data')}/val"
    register_folders([dataset])
    names = MetadataCatalog.get(dataset).stuff_classes
    order = [1, 2, 0]  # the model's id of each of the data set's classes
    same = drawn(make_cfg("quickstart/icpc_tiny.yaml", "MODEL.CLASS_NAMES", names), dataset, [0, 1, 2])
    renumbered = [names[order.index(k)] for k in range(3)]
    other = drawn(make_cfg("quickstart/icpc_tiny.yaml", "MODEL.CLASS_NAMES", renumbered), dataset, order)
    assert len(same) == len(other) == 2
    for found, wanted in zip(other, same, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_images_of_the_same_samples_at_each_evaluation(board: EventAccumulator) -> None:
    tags = board.Tags()["images"]
    assert sorted(tags) == [f"validation/{index}" for index in range(3)]
    for tag in tags:
        first, last = board.Images(tag)
        assert first.step < last.step
        assert (first.width, first.height) == (last.width, last.height)
        assert first.width > 4 * 400
    sizes = {board.Images(tag)[0].encoded_image_string for tag in tags}
    assert len(sizes) == 3
