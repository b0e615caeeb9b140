"""A model evaluated on a data set of other classes, by those that both have (the paper's Table 9)."""

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from icpc_d2.data.shared_class_list import OTHER, SharedClasses
from icpc_d2.evaluation.sem_seg import SemSegEvaluator

# The class that predictions of none of the shared classes are counted as.
_OTHER_NAME = "(none of the shared classes)"


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
