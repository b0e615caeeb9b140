"""The validation loss against its definition, however the data set is divided."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.utils import comm
from torch import Tensor
from torch.nn import functional as F

from icpc_d2.evaluation import SemSegEvaluator, build_evaluator, results_table
from icpc_d2.evaluation.validation_loss import ValidationLoss
from icpc_d2.modeling.fast import chunked_predictions
from icpc_d2.modeling.fast.chunked_predictions import ChunkedLogits, ChunkedProbabilities
from icpc_d2.modeling.predictions import LazyLogits, LazyProbabilities, View
from icpc_d2.modeling.windows import sliding_windows, whole_images
from tests.support.evaluation import TinyDataset, evaluation_cfg
from tests.support.models import predict_coarsely

WEIGHTS = [0.5, 2.0, 0.0, 1.0]


def logits_of(dataset: TinyDataset) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    return [3 * torch.randn(4, *label.shape, generator=random) for label in dataset.labels]


def definition(logits: list[Tensor], labels: list[np.ndarray], weights: list[float] | None) -> float:
    """One mean over all pixels of all images, by torch, in float64."""
    pixels = torch.cat([image.flatten(1).T.double() for image in logits])
    classes = torch.cat([torch.from_numpy(label).flatten() for label in labels])
    weight = None if weights is None else torch.tensor(weights).double()
    return F.cross_entropy(pixels, classes, weight, ignore_index=255).item()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("batches", [[[0, 1, 2]], [[2], [0], [1]]], ids=["at once", "one by one"])
def test_it_is_the_mean_over_all_pixels(
    dataset: TinyDataset, weights: list[float] | None, batches: list[list[int]]
) -> None:
    """Not the mean of the means of images, which have 72, 30 and 224 labelled pixels."""
    logits = logits_of(dataset)
    evaluator = SemSegEvaluator(dataset.name, loss=ValidationLoss(weights or []))
    for _ in range(2):  # nothing is left of the evaluation before
        evaluator.reset()
        for batch in batches:
            evaluator.process([dataset.samples[i] for i in batch], [{"sem_seg": logits[i]} for i in batch])
        found = evaluator.evaluate()["sem_seg"]
        assert found["loss"] == pytest.approx(definition(logits, dataset.labels, weights), rel=1e-6)
    assert set(found) > {"mIoU", "loss"}


def test_processes_share_the_images(dataset: TinyDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same to the last bit, in whatever order the sums come."""
    losses = [ValidationLoss(WEIGHTS) for _ in range(2)]
    alone = ValidationLoss(WEIGHTS)
    for index, (logits, label) in enumerate(zip(logits_of(dataset), dataset.labels, strict=True)):
        losses[index % 2].add({"sem_seg": logits}, label, 255)
        alone.add({"sem_seg": logits}, label, 255)
    wanted = alone.collect()
    monkeypatch.setattr(comm, "gather", lambda mine: [loss._sums for loss in reversed(losses)])
    assert losses[0].collect() == wanted
    monkeypatch.setattr(comm, "gather", lambda mine: [])
    assert losses[1].collect() is None, "not the main process"


def test_label_maps_have_no_loss_and_nothing_labelled_has_no_number(dataset: TinyDataset) -> None:
    loss = ValidationLoss()
    loss.add({"labels": torch.zeros(2, 2)}, np.zeros((2, 2), np.int64), 255)
    loss.add({"sem_seg": torch.zeros(4, 2, 2)}, np.zeros((2, 2), np.int64), 255)
    assert loss.collect() is None
    loss.reset()
    loss.add({"sem_seg": torch.zeros(4, 2, 2)}, np.full((2, 2), 255), 255)
    assert math.isnan(loss.collect())


@pytest.mark.parametrize("sliding", [True, False])
@pytest.mark.parametrize("classes_at_once", [1, 16, 99])
def test_losses_of_predictions_in_both_forms(
    monkeypatch: pytest.MonkeyPatch, sliding: bool, classes_at_once: int
) -> None:
    monkeypatch.setattr(chunked_predictions, "CHUNK_BYTES", 4 * 97 * 131 * classes_at_once)
    image = torch.randn(3, 97, 131)
    if sliding:
        windows = sliding_windows(predict_coarsely, image, 64, 43, 4, 32)
    else:
        windows = whole_images(predict_coarsely, F.pad(image, (0, 29, 0, 31))[None], [(97, 131)])[0]
    labels = torch.randint(30, (60, 83))
    plain, chunked = (form(windows, (97, 131), (60, 83)) for form in (LazyLogits, ChunkedLogits))
    wanted = F.cross_entropy(plain.logits()[None], labels[None], reduction="none")[0]
    torch.testing.assert_close(plain.losses(labels), wanted)
    torch.testing.assert_close(chunked.losses(labels), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("forms", [(LazyLogits, LazyProbabilities), (ChunkedLogits, ChunkedProbabilities)])
def test_losses_of_averages_are_of_the_mean_probability(forms: tuple[Callable, Callable]) -> None:
    """Also where a view's probability is too small for float32."""
    of_view, of_average = forms
    small = whole_images(lambda images: 100 * predict_coarsely(images), torch.randn(1, 3, 64, 96), [(57, 79)])[0]
    large = sliding_windows(predict_coarsely, torch.randn(3, 97, 131), 64, 43, 4, 32)
    views = [of_view(small, (57, 79), (60, 83)), of_view(large, (97, 131), (60, 83))]
    labels = torch.randint(30, (60, 83))
    probabilities = [views[0].logits().double().softmax(0), views[1].logits().double().softmax(0).flip(2)]
    wanted = -(sum(probabilities) / 2).gather(0, labels[None])[0].log()
    found = of_average([View(views[0], mirrored=False), View(views[1], mirrored=True)]).losses(labels)
    torch.testing.assert_close(found, wanted.float(), atol=1e-4, rtol=1e-4)


def test_the_config_decides(dataset: TinyDataset, tmp_path: Path) -> None:
    found = {}
    for loss in (True, False):
        evaluator = build_evaluator(evaluation_cfg(tmp_path, dataset.name, LOSS=loss), dataset.name)
        evaluator.reset()
        evaluator.process(dataset.samples, [{"sem_seg": logits} for logits in logits_of(dataset)])
        found[loss] = evaluator.evaluate()["sem_seg"]
    assert found[True].keys() - found[False].keys() == {"loss"}
    assert results_table({"sem_seg": found[True]}).endswith(f"loss {found[True]['loss']:.4f}")
