import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.evaluation import SemSegEvaluator as Detectron2Evaluator
from PIL import Image
from torch import Tensor

from icpc_d2.data.reading import read_label
from icpc_d2.evaluation import SemSegEvaluator
from tests.support.evaluation import TINY_CLASSES, TinyDataset


def scores(dataset: TinyDataset) -> list[Tensor]:
    """Random scores (K, H, W) of each image that favour the truth."""
    random = torch.Generator().manual_seed(1)
    answers = []
    for label in dataset.labels:
        truth = torch.nn.functional.one_hot(torch.from_numpy(label % 255), len(TINY_CLASSES)).permute(2, 0, 1)
        answers.append(torch.rand(truth.shape, generator=random) + 0.5 * truth)
    return answers


def evaluate(evaluator: Detectron2Evaluator, dataset: TinyDataset, answers: list[Tensor]) -> dict[str, float]:
    evaluator.reset()
    for sample, answer in zip(dataset.samples, answers, strict=True):
        evaluator.process([sample], [{"sem_seg": answer}])
    return evaluator.evaluate()["sem_seg"]


def test_figures_are_the_definitions(dataset: TinyDataset) -> None:
    answers = scores(dataset)
    found = evaluate(SemSegEvaluator(dataset.name), dataset, answers)
    label = np.concatenate([label.ravel() for label in dataset.labels])
    prediction = np.concatenate([answer.argmax(0).numpy().ravel() for answer in answers])[label != 255]
    label = label[label != 255]
    for index, name in enumerate(TINY_CLASSES[:3]):
        both = np.sum((label == index) & (prediction == index))
        assert found[f"IoU-{name}"] == pytest.approx(100 * both / np.sum((label == index) | (prediction == index)))
        assert found[f"ACC-{name}"] == pytest.approx(100 * both / np.sum(label == index))
    assert found["pACC"] == pytest.approx(100 * np.mean(label == prediction))
    assert found["mIoU"] == pytest.approx(np.mean([found[f"IoU-{name}"] for name in TINY_CLASSES[:3]]))
    assert math.isnan(found["IoU-boat"])
    assert all(type(value) is float for value in found.values())


def test_agrees_with_detectron2(dataset: TinyDataset, tmp_path: Path) -> None:
    answers = scores(dataset)
    theirs = Detectron2Evaluator(
        dataset.name, sem_seg_loading_fn=read_label, output_dir=str(tmp_path / "theirs"), distributed=False
    )
    ours = SemSegEvaluator(dataset.name, predictions_dir=str(tmp_path / "ours"), boundary_iou=True)
    expected, found = evaluate(theirs, dataset, answers), evaluate(ours, dataset, answers)
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()))
    predictions = [json.loads((tmp_path / who / "sem_seg_predictions.json").read_text()) for who in ("theirs", "ours")]
    assert predictions[0] == predictions[1]


def test_classes_in_another_order_are_evaluated_by_name(dataset: TinyDataset, tmp_path: Path) -> None:
    order = [2, 0, 3, 1]  # the model calls the data set's class k order[k]
    answers = scores(dataset)
    expected = evaluate(SemSegEvaluator(dataset.name, str(tmp_path / "same")), dataset, answers)
    evaluator = SemSegEvaluator(dataset.name, str(tmp_path / "other"), order=order)
    found = evaluate(evaluator, dataset, [answer[np.argsort(order)] for answer in answers])
    assert found == pytest.approx(expected, nan_ok=True)
    predictions = [json.loads((tmp_path / who / "sem_seg_predictions.json").read_text()) for who in ("same", "other")]
    first, second = (sorted(lines, key=lambda line: json.dumps(line, sort_keys=True)) for lines in predictions)
    assert first == second


def test_slow_parts_are_left_out_unless_asked_for(dataset: TinyDataset, tmp_path: Path) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    found = evaluate(SemSegEvaluator(dataset.name), dataset, scores(dataset))
    assert not any(name.startswith("Boundary") for name in found)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_label_maps_serve_as_predictions(dataset: TinyDataset, dtype: torch.dtype) -> None:
    answers = scores(dataset)
    evaluator = SemSegEvaluator(dataset.name)
    expected = evaluate(evaluator, dataset, answers)
    maps = [answer.argmax(0).to(dtype) for answer in answers]
    found = evaluate(evaluator, dataset, maps)
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))
    evaluator.reset()
    evaluator.process(dataset.samples, [{"labels": labels} for labels in maps])
    np.testing.assert_array_equal(list(evaluator.evaluate()["sem_seg"].values()), list(expected.values()))


def test_sixteen_bit_labels_may_say_ignore_their_way(dataset: TinyDataset) -> None:
    expected = evaluate(SemSegEvaluator(dataset.name), dataset, scores(dataset))
    for sample, label in zip(dataset.samples, dataset.labels, strict=True):
        label = np.where(label == 255, 65535, label).astype(np.uint16)
        Image.fromarray(label).save(sample["sem_seg_file_name"])
    found = evaluate(SemSegEvaluator(dataset.name), dataset, scores(dataset))
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))


def test_labels_out_of_range_name_file_and_values(dataset: TinyDataset) -> None:
    label = dataset.labels[0].astype(np.uint8)
    label[3, 3], label[4, 4] = 4, 77
    Image.fromarray(label).save(dataset.samples[0]["sem_seg_file_name"])
    with pytest.raises(ValueError, match=r"0\.png: found the labels 4, 77, wanted 0\.\.3 or the ignore label 255"):
        evaluate(SemSegEvaluator(dataset.name), dataset, scores(dataset))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(4, 8, 11), r"The prediction is \(8, 11\), its label .*0\.png \(8, 12\)"),
        (torch.zeros(3, 8, 12), "predicts 3 classes, .* has 4"),
        (torch.full((8, 12), 4), r"Predicted labels are 4\.\.4, wanted 0\.\.3"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(dataset: TinyDataset, answer: Tensor, message: str) -> None:
    evaluator = SemSegEvaluator(dataset.name)
    evaluator.reset()
    with pytest.raises(ValueError, match=message):
        evaluator.process(dataset.samples[:1], [{"sem_seg": answer}])


def test_nothing_but_ignored_pixels_gives_no_figures(dataset: TinyDataset) -> None:
    for sample, label in zip(dataset.samples, dataset.labels, strict=True):
        Image.fromarray(np.full(label.shape, 255, np.uint8)).save(sample["sem_seg_file_name"])
    found = evaluate(SemSegEvaluator(dataset.name), dataset, scores(dataset))
    assert math.isnan(found["mIoU"])
    assert math.isnan(found["pACC"])
