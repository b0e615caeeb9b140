"""Figures of the shared classes against a loop, for each form of answer, and by way of the config."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from PIL import Image
from torch import Tensor

from icpc_d2.data.class_list import read_shared_classes
from icpc_d2.evaluation import build_evaluator
from tests.support.evaluation import TINY_CLASSES, TinyDataset, evaluation_cfg

# The data set's are sky, road, car, boat; the labels show the first three.
MODEL_CLASSES = ["tree", "car", "sky", "sea", "automobile", "boat"]
LIST = "sky\ncar | automobile\ncar\nboat\n"


@pytest.fixture
def cfg(dataset: TinyDataset, tmp_path: Path) -> CfgNode:
    path = tmp_path / "shared.txt"
    path.write_text(LIST)
    cfg = evaluation_cfg(tmp_path / "out", dataset.name)
    cfg.MODEL.CLASS_NAMES = MODEL_CLASSES
    cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES = [str(path)]
    return cfg


@pytest.fixture
def scores(dataset: TinyDataset) -> list[Tensor]:
    return [torch.rand(len(MODEL_CLASSES), *label.shape) for label in dataset.labels]


class Lazy:
    """A prediction that makes its label maps when asked."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def labels(self, candidates: list[int] | None = None) -> Tensor:
        candidates = list(range(len(self.scores))) if candidates is None else candidates
        return torch.tensor(candidates)[self.scores[candidates].argmax(dim=0)]


def evaluate(cfg: CfgNode, dataset: TinyDataset, outputs: list[dict]) -> dict[str, dict[str, float]]:
    evaluator = build_evaluator(cfg, dataset.name)
    evaluator.reset()
    for sample, output in zip(dataset.samples, outputs, strict=True):
        evaluator.process([sample], [output])
    return evaluator.evaluate()


def loop(dataset: TinyDataset, scores: list[Tensor], among: list[str]) -> dict[str, float]:
    """IoU by class name, pixel by pixel, choosing among some classes."""
    same = {"automobile": "car"}
    pairs = []
    for label, score in zip(dataset.labels, scores, strict=True):
        for index in np.ndindex(label.shape):
            truth = None if label[index] == 255 else TINY_CLASSES[label[index]]
            if truth not in ("sky", "car", "boat"):
                continue
            best = max(among, key=lambda name, score=score, index=index: score[MODEL_CLASSES.index(name)][index])
            pairs.append((truth, same.get(best, best)))
    ious = {}
    for name in ("sky", "car"):
        hits = sum(pair == (name, name) for pair in pairs)
        ious[name] = 100 * hits / sum(name in pair for pair in pairs)
    return ious | {"pACC": 100 * sum(truth == found for truth, found in pairs) / len(pairs)}


@pytest.mark.parametrize("form", ["sem_seg", "prediction"])
def test_figures_are_those_of_a_loop(cfg: CfgNode, dataset: TinyDataset, scores: list[Tensor], form: str) -> None:
    outputs = [{form: score if form == "sem_seg" else Lazy(score)} for score in scores]
    results = evaluate(cfg, dataset, outputs)
    assert list(results) == ["sem_seg", "sem_seg_shared"]
    shared = ["car", "sky", "automobile", "boat"]
    for task, among in (("sem_seg", MODEL_CLASSES), ("sem_seg_shared", shared)):
        wanted, found = loop(dataset, scores, among), results[task]
        assert {name for name in found if name.startswith("IoU")} == {"IoU-sky", "IoU-car", "IoU-boat"}
        for name in ("sky", "car"):
            assert found[f"IoU-{name}"] == pytest.approx(wanted[name])
        assert found["mIoU"] == pytest.approx((wanted["sky"] + wanted["car"]) / 2), "no label shows a boat"
        assert found["pACC"] == pytest.approx(wanted["pACC"])
    assert results["sem_seg_shared"]["pACC"] > results["sem_seg"]["pACC"]


@pytest.mark.parametrize("candidates", [["shared"], ["shared", "all"]])
def test_the_first_candidates_give_the_mean(
    cfg: CfgNode, dataset: TinyDataset, scores: list[Tensor], candidates: list[str]
) -> None:
    outputs = [{"sem_seg": score} for score in scores]
    both = evaluate(cfg, dataset, outputs)
    cfg.TEST.CROSS_DOMAIN.CANDIDATES = candidates
    found = evaluate(cfg, dataset, outputs)
    wanted = {"sem_seg": both["sem_seg_shared"], "sem_seg_all": both["sem_seg"]}
    np.testing.assert_equal(dict(found), {task: wanted[task] for task in list(wanted)[: len(candidates)]})


def test_label_maps_serve_where_all_are_candidates(cfg: CfgNode, dataset: TinyDataset, scores: list[Tensor]) -> None:
    outputs = [{"labels": score.argmax(dim=0)} for score in scores]
    with pytest.raises(ValueError, match=r"set TEST\.SEM_SEG\.LABEL_MAPS to False, or leave 'shared' out"):
        evaluate(cfg, dataset, outputs)
    cfg.TEST.CROSS_DOMAIN.CANDIDATES = ["all"]
    found = evaluate(cfg, dataset, outputs)
    np.testing.assert_equal(
        found["sem_seg"], evaluate(cfg, dataset, [{"sem_seg": score} for score in scores])["sem_seg"]
    )


def test_images_have_the_colours_of_the_data_set(cfg: CfgNode, dataset: TinyDataset, scores: list[Tensor]) -> None:
    cfg.TEST.SEM_SEG.NUM_PICTURES = 3
    evaluate(cfg, dataset, [{"sem_seg": score} for score in scores])
    evaluator = build_evaluator(cfg, dataset.name)._evaluators[-1]
    shared = read_shared_classes(cfg.TEST.CROSS_DOMAIN.SHARED_CLASSES[0], TINY_CLASSES, MODEL_CLASSES)
    np.testing.assert_array_equal(evaluator._to_dataset, shared.to_dataset)
    for sample in dataset.samples:
        name = Path(sample["file_name"]).with_suffix(".png").name
        assert Image.open(Path(cfg.OUTPUT_DIR) / "pictures" / name).size[0] > 3


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("TEST.CROSS_DOMAIN.CANDIDATES", ["both"], r"CANDIDATES is \['both'\]; wanted is 'all', 'shared' or both"),
        ("TEST.CROSS_DOMAIN.CANDIDATES", [], r"CANDIDATES is \[\]"),
        ("TEST.CROSS_DOMAIN.SHARED_CLASSES", ["voc", "isaid"], "has 2 lists, .* has 1 data sets"),
        ("TEST.SEM_SEG.BOUNDARY_IOU", True, "no boundary IoU"),
    ],
)
def test_contradictions_are_refused(cfg: CfgNode, dataset: TinyDataset, key: str, value: object, message: str) -> None:
    cfg.merge_from_list([key, value])
    with pytest.raises(ValueError, match=message):
        build_evaluator(cfg, dataset.name)
