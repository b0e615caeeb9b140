"""The mapper: what it returns, what it refuses, and real images."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from PIL import Image

from icpc_d2.data import BadFileError, SemSegDatasetMapper
from icpc_d2.data.reading import read_label

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def test_training(cfg: CfgNode, pair: dict[str, str]) -> None:
    output = SemSegDatasetMapper(cfg, True)({**pair, "image_id": 7})
    assert (output["image"].shape, output["image"].dtype) == ((3, 64, 96), torch.uint8)
    assert (output["sem_seg"].shape, output["sem_seg"].dtype) == ((64, 96), torch.int64)
    assert set(output["sem_seg"].unique().tolist()) <= {0, 1, 2, 3, 255}
    assert (output["height"], output["width"], output["image_id"]) == (60, 80, 7)
    assert output.items() >= pair.items()


def test_evaluation(cfg: CfgNode, pair: dict[str, str], image: np.ndarray) -> None:
    cfg.INPUT.MIN_SIZE_TEST = 60
    output = SemSegDatasetMapper(cfg, False)(pair)
    np.testing.assert_array_equal(output["image"].permute(1, 2, 0), image)
    assert (output["height"], output["width"]) == (60, 80)
    assert "sem_seg" not in output


def test_pictures_without_labels_can_be_evaluated(cfg: CfgNode, pair: dict[str, str]) -> None:
    output = SemSegDatasetMapper(cfg, False)({"file_name": pair["file_name"]})
    assert output["image"].shape == (3, 64, 85)


def test_input_is_not_changed(cfg: CfgNode, pair: dict[str, str]) -> None:
    before = dict(pair)
    SemSegDatasetMapper(cfg, True)(pair)
    assert pair == before


def test_16_bit_labels_with_their_own_ignore_label(
    cfg: CfgNode, pair: dict[str, str], label: np.ndarray, register: Callable[..., str]
) -> None:
    wide = np.where(label == 255, 65535, label.astype(np.uint16) + 600).astype(np.uint16)
    Image.fromarray(wide).save(pair["sem_seg_file_name"])
    names = [str(k) for k in range(847)]
    cfg.DATASETS.TRAIN = (register("wide_labels", stuff_classes=names, ignore_label=65535),)
    cfg.INPUT.SCALE_RANGE = [0.5, 0.5]  # leaves room for padding
    sem_seg = SemSegDatasetMapper(cfg, True)(pair)["sem_seg"]
    assert set(sem_seg.unique().tolist()) <= {600, 601, 602, 603, 65535}
    assert (sem_seg[32:] == 65535).all()


def test_same_seed_same_output(cfg: CfgNode, pair: dict[str, str]) -> None:
    mapper = SemSegDatasetMapper(cfg, True)
    outputs = []
    for _ in range(2):
        np.random.seed(3)
        random.seed(3)
        outputs.append(mapper(pair))
    assert torch.equal(outputs[0]["image"], outputs[1]["image"])
    assert torch.equal(outputs[0]["sem_seg"], outputs[1]["sem_seg"])


def test_label_of_another_size_is_refused(cfg: CfgNode, pair: dict[str, str], label: np.ndarray) -> None:
    Image.fromarray(label.T.copy()).save(pair["sem_seg_file_name"])
    with pytest.raises(BadFileError, match=r"label\.png: found .* 80 x 60 .* wanted 60 x 80 as .*picture\.png"):
        SemSegDatasetMapper(cfg, True)(pair)


def test_ids_out_of_range_are_refused(cfg: CfgNode, pair: dict[str, str], label: np.ndarray) -> None:
    label[:2, :3] = 4
    Image.fromarray(label).save(pair["sem_seg_file_name"])
    with pytest.raises(BadFileError, match=r"label\.png: found the ids \[4\] in 6 pixels, wanted 0\.\.3 or 255"):
        SemSegDatasetMapper(cfg, True)(pair)


def test_sets_that_do_not_fit_together_are_refused(cfg: CfgNode, register: Callable[..., str]) -> None:
    cfg.DATASETS.TRAIN = (*cfg.DATASETS.TRAIN, register("other", stuff_classes=["a"], ignore_label=255))
    with pytest.raises(ValueError, match=r"one ignore label and one class list, found .*'other': \(255, 1\)"):
        SemSegDatasetMapper(cfg, True)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"real images are not there: {SHARED}")
@pytest.mark.parametrize(
    ("image", "label", "ids"),
    [
        ("VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass", {*range(21), 255}),
        ("cocostuff164k/images", "cocostuff164k/annotations", {*range(182), 255}),
        ("CamVid/val", "CamVid/valannot", set(range(12))),
    ],
    ids=["Pascal VOC (palette)", "COCO-Stuff", "CamVid"],
)
def test_real_files(cfg: CfgNode, register: Callable[..., str], image: str, label: str, ids: set[int]) -> None:
    labels = sorted((SHARED / label).rglob("*.png"))[:3]
    pictures = {path.stem: path for path in (SHARED / image).rglob("*.*")}
    names = [str(k) for k in range(max(ids - {255}) + 1)]
    cfg.DATASETS.TRAIN = (register("real", stuff_classes=names, ignore_label=255),)
    mapper = SemSegDatasetMapper(cfg, True)
    assert labels
    for path in labels:
        output = mapper({"file_name": os.fspath(pictures[path.stem]), "sem_seg_file_name": os.fspath(path)})
        assert set(np.unique(read_label(os.fspath(path)))) <= ids
        assert set(output["sem_seg"].unique().tolist()) <= ids | {MetadataCatalog.get("real").ignore_label}
        assert output["image"].shape[1:] == output["sem_seg"].shape == (64, 96)
