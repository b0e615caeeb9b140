from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from PIL import Image
from torch import nn

from icpc_d2.evaluation import build_evaluator
from icpc_d2.evaluation.image_writer import spread
from tests.support.evaluation import TINY_CLASSES, TinyDataset, evaluation_cfg


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


def test_images_of_a_set_whose_classes_have_another_order(dataset: TinyDataset, tmp_path: Path) -> None:
    """They show the data set's own ids, in its own colours, whatever the model calls them."""
    order = [2, 0, 3, 1]  # the model's id of each of the data set's classes
    run(evaluation_cfg(tmp_path / "same", dataset.name, NUM_PICTURES=3), dataset)
    cfg = evaluation_cfg(tmp_path / "other", dataset.name, NUM_PICTURES=3)
    cfg.MODEL.CLASS_NAMES = [TINY_CLASSES[order.index(k)] for k in range(4)]
    of_model = [np.append(order, order[0])[np.minimum(label, 4)] for label in dataset.labels]
    assert run(cfg, replace(dataset, labels=of_model))["mIoU"] == 100
    for index in range(3):
        found, wanted = (Image.open(tmp_path / folder / f"pictures/{index}.png") for folder in ("other", "same"))
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def test_images_of_one_name_in_several_folders_are_all_drawn(dataset: TinyDataset, tmp_path: Path) -> None:
    for sample, folder in zip(dataset.samples, ("x", "y", "y"), strict=True):
        image = Path(sample["file_name"])
        place = image.parent / folder / ("0.jpg" if image.stem != "2" else "2.jpg")
        place.parent.mkdir(exist_ok=True)
        sample["file_name"] = str(image.rename(place))
    run(evaluation_cfg(tmp_path / "out", dataset.name, NUM_PICTURES=3), dataset)
    assert sorted(path.name for path in (tmp_path / "out/pictures").iterdir()) == ["2.png", "x_0.png", "y_0.png"]


def test_the_validation_loss_weighs_classes_as_the_config_says(dataset: TinyDataset, tmp_path: Path) -> None:
    cfg = evaluation_cfg(tmp_path, dataset.name)
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.CLASS_WEIGHTS = TINY_CLASSES, [1.0, 0.5, 3.0, 1.0]
    evaluator = build_evaluator(cfg, dataset.name)
    evaluator.reset()
    logits = [torch.randn(4, *label.shape, generator=torch.Generator().manual_seed(0)) for label in dataset.labels]
    evaluator.process(dataset.samples, [{"sem_seg": scores} for scores in logits])
    wanted = nn.functional.cross_entropy(
        torch.cat([scores.flatten(1).T for scores in logits]),
        torch.cat([torch.from_numpy(label).flatten() for label in dataset.labels]),
        torch.tensor([1.0, 0.5, 3.0, 1.0]),
        ignore_index=255,
    )
    assert evaluator.evaluate()["sem_seg"]["loss"] == pytest.approx(wanted.item(), rel=1e-5)


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
