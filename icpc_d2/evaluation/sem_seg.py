"""Detectron2's SemSegEvaluator for labels of any depth, label maps as predictions, and without its slow parts.

A data set of other classes than the model's is evaluated by those that both have (the paper's Table 9).
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2 import evaluation
from numpy.typing import DTypeLike

from icpc_d2.data.class_list import OTHER, SharedClasses
from icpc_d2.data.class_matching import inverse, label_code_of
from icpc_d2.data.label_code import advice_on_ids
from icpc_d2.data.reading import read_label
from icpc_d2.evaluation.label_maps import label_map
from icpc_d2.evaluation.validation_loss import ValidationLoss
from icpc_d2.modeling.labels import IGNORE_16_BIT

# The class that predictions of none of the shared classes are counted as.
_OTHER_NAME = "(none of the shared classes)"


class SemSegEvaluator(evaluation.SemSegEvaluator):
    """mIoU, per-class IoU and accuracy, frequency-weighted IoU and pixel accuracy of one data set, in percent; a loss.

    Classes that the labels never show are NaN and left out of the means, as in Detectron2.

    Args:
        dataset_name: registered data set; its metadata has ``stuff_classes`` and ``ignore_label``.
        predictions_dir: folder of Detectron2's JSON of all predictions; None: not written.
        boundary_iou: also compute Detectron2's boundary IoU (for fewer than 255 classes).
        loss: also gives "loss", in nats, where predictions have scores; None: without.
        order: of the model's classes, which of them each of the data set's is; None: the same.
    """

    def __init__(
        self,
        dataset_name: str,
        predictions_dir: str | None = None,
        boundary_iou: bool = False,
        loss: ValidationLoss | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__(dataset_name, output_dir=predictions_dir, sem_seg_loading_fn=self.read_label)
        self._loss = loss
        self._label_code = label_code_of(dataset_name, order)
        if order is not None:  # everything is in the model's order
            self._class_names = [self._class_names[k] for k in inverse(order)]
            ids = self._contiguous_id_to_dataset_id or {k: k for k in range(len(order))}
            self._contiguous_id_to_dataset_id = {order[k]: value for k, value in ids.items()}
        # Number of classes in the labels, and in the model's output.
        self._label_classes = self._model_classes = self._num_classes
        self._candidates: Sequence[int] | None = None  # that a prediction is chosen from; None: all
        self._compute_boundary_iou = self._compute_boundary_iou and boundary_iou
        # Detectron2 logs all figures as one line of Python; `results_table` formats them for people.
        self._logger = logging.getLogger(f"{__name__}.raw")
        self._logger.setLevel(logging.WARNING)

    def read_label(self, file_name: str, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Read a label map (H, W), the model's classes 0..K-1 or the data set's ignore label.

        Raises:
            ValueError: other values, which it names together with the file.
        """
        label = read_label(file_name, dtype, self._label_code)
        label[label == IGNORE_16_BIT] = self._ignore_label
        valid = (label >= 0) & (label < self._label_classes) | (label == self._ignore_label)
        if not valid.all():
            found = ", ".join(str(value) for value in np.unique(label[~valid])[:10])
            raise ValueError(
                f"{file_name}: found the labels {found}, wanted 0..{self._label_classes - 1} or the ignore label "
                f"{self._ignore_label}. Was the data set '{self._dataset_name}' prepared?"
                f"{advice_on_ids(label[~valid], self._label_classes)}"
            )
        return label

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        if self._loss is not None:
            self._loss.reset()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Count a batch of samples with "file_name"; :func:`icpc_d2.evaluation.label_maps.label_map` takes the outputs.

        Raises:
            ValueError: a prediction's size, class count or values do not fit the label.
        """
        for sample, output in zip(inputs, outputs, strict=True):
            label_file = self.input_file_to_gt_file[sample["file_name"]]
            label = self.sem_seg_loading_fn(label_file, dtype=np.int64)
            prediction = self._predict(output)
            if prediction.shape != label.shape:
                raise ValueError(f"The prediction is {prediction.shape}, its label {label_file} {label.shape}.")
            if self._loss is not None:
                self._loss.add(output, label, self._ignore_label)
            label[label == self._ignore_label] = self._num_classes
            self._conf_matrix += self._count(prediction, label)
            if self._compute_boundary_iou:
                self._b_conf_matrix += self._count(
                    self._mask_to_boundary(prediction.astype(np.uint8)), self._mask_to_boundary(label.astype(np.uint8))
                )
            if self._output_dir:
                self._predictions.extend(self.encode_json_sem_seg(prediction, sample["file_name"]))

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Collect ``{"sem_seg": {"mIoU": ..., "IoU-<class>": ..., "pACC": ...}}``; None but in the main process."""
        with np.errstate(invalid="ignore"):  # nothing but ignored pixels: every figure is NaN
            results = super().evaluate()
        loss = None if self._loss is None else self._loss.collect()
        if results is None:
            return None
        if loss is not None:
            results["sem_seg"]["loss"] = loss
        return OrderedDict({task: {name: float(v) for name, v in res.items()} for task, res in results.items()})

    @property
    def confusion_matrix(self) -> np.ndarray:
        """Pixels counted so far, (K, K), rows by label, columns by prediction; of all processes after `evaluate`."""
        return self._conf_matrix[:-1, :-1].T

    def _predict(self, output: dict[str, Any]) -> np.ndarray:
        """Return the label map (H, W), int64, of the classes that are counted."""
        scores = output.get("sem_seg")
        if scores is not None and scores.ndim == 3 and len(scores) != self._model_classes:
            raise ValueError(
                f"The model predicts {len(scores)} classes, '{self._dataset_name}' has {self._model_classes}."
            )
        labels = label_map(output, self._candidates).to(self._cpu_device).numpy()
        if labels.size and not 0 <= labels.min() <= labels.max() < self._model_classes:
            found = f"{labels.min()}..{labels.max()}"
            raise ValueError(f"Predicted labels are {found}, wanted 0..{self._model_classes - 1}.")
        return labels

    def _count(self, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        """Count two label maps: (K + 1, K + 1), rows predicted, columns true, the last for ignored."""
        size = self._num_classes + 1
        pairs = size * prediction.reshape(-1).astype(np.int64) + label.reshape(-1)
        return np.bincount(pairs, minlength=size * size).reshape(size, size)


class SharedClassesEvaluator(SemSegEvaluator):
    """The figures of `SemSegEvaluator` for the shared classes; pixels of the data set's other classes are ignored.

    A prediction that is none of the shared classes is a miss of the true class, and counts for no class.

    Args:
        shared: the classes that the data set shares with the model.
        among_shared: predict the best of the shared classes, not of all of the model's.
        task: name of the figures in the results.
    """

    def __init__(self, dataset_name: str, shared: SharedClasses, among_shared: bool, task: str) -> None:
        super().__init__(dataset_name)
        self._of_dataset = shared.of_dataset(self._label_classes, self._ignore_label)
        self._of_model = np.where(shared.of_model == OTHER, len(shared.names), shared.of_model)
        self._candidates = shared.model_ids if among_shared else None
        self._task = task
        self._model_classes = len(shared.of_model)
        self._class_names = [*shared.names, _OTHER_NAME]
        self._num_classes = len(self._class_names)

    def read_label(self, file_name: str, dtype: DTypeLike = np.int64) -> np.ndarray:
        """Read and check a label map as `SemSegEvaluator`; (H, W), 0..n-1 of the shared classes or the ignore label."""
        label = super().read_label(file_name, dtype)
        known = label != self._ignore_label
        label[known] = self._of_dataset[label[known]]
        return label

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Collect as `SemSegEvaluator` does; the figures of the shared classes, by the name of the task."""
        results = super().evaluate()
        if results is None:
            return None
        figures = {name: value for name, value in results["sem_seg"].items() if not name.endswith(_OTHER_NAME)}
        return OrderedDict({self._task: figures})

    def _predict(self, output: dict[str, Any]) -> np.ndarray:
        return self._of_model[super()._predict(output)]
