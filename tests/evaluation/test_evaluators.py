from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from PIL import Image

from icpc_d2.evaluation import build_evaluator
from icpc_d2.evaluation.image_writer import spread
from tests.support.evaluation import TinyDataset, evaluation_cfg


def run(cfg: CfgNode, dataset: TinyDataset) -> dict[str, float]:
    evaluator = build_evaluator(cfg, dataset.name)
    evaluator.reset()
    outputs = [{"sem_seg": torch.from_numpy(label % 255)} for label in dataset.labels]
    evaluator.process(dataset.samples, outputs)
    return evaluator.evaluate()["sem_seg"]


def test_figures_and_images(dataset: TinyDataset, tmp_path: Path) -> None:
    results = run(evaluation_cfg(tmp_path / "out", dataset.name, NUM_PICTURES=2), dataset)
    assert results["mIoU"] == 100
    images = sorted((tmp_path / "out").rglob("*"))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in images] == [
        "pictures",
        "pictures/0.png",
        "pictures/1.png",
    ]
    assert np.asarray(Image.open(images[1])).ndim == 3


def test_everything_that_is_slow_on_request(dataset: TinyDataset, tmp_path: Path) -> None:
    cfg = evaluation_cfg(tmp_path / "out", dataset.name, SAVE_PREDICTIONS=True, BOUNDARY_IOU=True)
    results = run(cfg, dataset)
    assert "BoundaryIoU-sky" in results
    assert (tmp_path / "out" / "inference" / "sem_seg_predictions.json").is_file()


def test_several_data_sets_keep_their_files_apart(dataset: TinyDataset, tmp_path: Path) -> None:
    cfg = evaluation_cfg(tmp_path / "out", dataset.name, "other", NUM_PICTURES=9)
    run(cfg, dataset)
    assert len(list((tmp_path / "out" / "pictures" / dataset.name).glob("*.png"))) == len(dataset.samples)


def test_other_tasks_are_refused(dataset: TinyDataset, tmp_path: Path) -> None:
    MetadataCatalog.get("boxes_only").evaluator_type = "coco"
    with pytest.raises(ValueError, match="'boxes_only' has evaluator_type 'coco' in its metadata, wanted 'sem_seg'"):
        build_evaluator(evaluation_cfg(tmp_path, "boxes_only"), "boxes_only")
    MetadataCatalog.remove("boxes_only")


@pytest.mark.parametrize(("count", "chosen"), [(1, [0]), (3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10)))])
def test_images_are_spread_evenly(count: int, chosen: list[int]) -> None:
    assert spread(range(10), count) == chosen
    assert spread([], count) == []
