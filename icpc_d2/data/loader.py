"""The endless stream of training samples, the same for any number of workers and processes.

Detectron2 seeds each worker, so that what a sample looks like depends on who draws it. Here the n-th sample of a
training is drawn with a generator seeded by (seed, n), wherever that happens.
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from multiprocessing import Value
from typing import Any

import numpy as np
import torch
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import RandomSubsetTrainingSampler, RepeatFactorTrainingSampler, TrainingSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from icpc_d2.data.class_frequency import REPEAT_SAMPLER
from icpc_d2.data.reading import BadFileError

logger = logging.getLogger(__name__)

# A data set in which this many draws in a row are bad is not one with some bad files.
MAX_SKIPS = 20


def build_sampler(
    name: str, size: int, seed: int, subset_ratio: float = 1.0, repeat_factors: Tensor | None = None
) -> Sampler:
    """Build Detectron2's endless sampler of this name, which deals the same indices to any number of processes.

    Args:
        size: number of samples.
        subset_ratio: share of them that "RandomSubsetTrainingSampler" takes.
        repeat_factors: (size,), how often "RepeatFactorTrainingSampler" takes each of them in an epoch.

    Raises:
        ValueError: another name; Detectron2's other samplers weigh samples by their instances.
    """
    if name == "TrainingSampler":
        return TrainingSampler(size, seed=seed)
    if name == "RandomSubsetTrainingSampler":
        return RandomSubsetTrainingSampler(size, subset_ratio, seed_shuffle=seed, seed_subset=seed)
    if name == REPEAT_SAMPLER and repeat_factors is not None:
        return RepeatFactorTrainingSampler(repeat_factors, seed=seed)
    raise ValueError(
        f"DATALOADER.SAMPLER_TRAIN is {name!r}; it can be 'TrainingSampler', 'RandomSubsetTrainingSampler' or, with "
        f"DATALOADER.REPEAT_THRESHOLD, '{REPEAT_SAMPLER}'."
    )


class NumberedSampler(Sampler):
    """A sampler that numbers the draws of one process: (index of the sample, number of the draw in the training).

    Args:
        sampler: the indices that this process draws: every `world_size`-th of all, from the `rank`-th on.
        start: how many of this process's draws are left out, because an earlier run has seen them.
    """

    def __init__(self, sampler: Iterable[int], rank: int = 0, world_size: int = 1, start: int = 0) -> None:
        self._sampler, self._rank, self._world_size = sampler, rank, world_size
        self.start = start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for count, index in islice(enumerate(self._sampler), self.start, None):
            yield index, self._rank + count * self._world_size


class TrainingSamples(Dataset):
    """The model's input for each draw, with a "seed" for what the model draws from it.

    Args:
        dataset_dicts: Detectron2's, an image each.
        mapper: turns one of them into the model's input.
        on_bad_file: "raise", or "skip" to draw another sample instead, which is counted and logged.
    """

    def __init__(
        self,
        dataset_dicts: Sequence[dict[str, Any]],
        mapper: Callable[[dict[str, Any]], dict[str, Any]],
        seed: int,
        on_bad_file: str = "raise",
    ) -> None:
        if on_bad_file not in ("raise", "skip"):
            raise ValueError(f"INPUT.ON_BAD_FILE is {on_bad_file!r}; it can be 'raise' or 'skip'.")
        self._dicts, self._mapper, self._seed, self._skip = dataset_dicts, mapper, seed, on_bad_file == "skip"
        self._num_skipped = Value("q", 0)  # shared by all workers

    @property
    def num_skipped(self) -> int:
        """Return how many draws hit a bad file so far, in this process and its workers."""
        return self._num_skipped.value

    def __len__(self) -> int:
        return len(self._dicts)

    def __getitem__(self, draw: tuple[int, int]) -> dict[str, Any]:
        """Draw a sample.

        Raises:
            BadFileError: see :class:`icpc_d2.data.SemSegDatasetMapper`; with "skip", when there is hardly a good one.
        """
        index, number = draw
        with seeded(self._seed, number):
            for _ in range(MAX_SKIPS):
                try:
                    return {**self._mapper(self._dicts[index]), "seed": int(np.random.randint(2**31 - 1))}
                except BadFileError as error:
                    if not self._skip:
                        raise
                    self._count(error)
                    last, index = error, int(np.random.randint(len(self._dicts)))
        raise BadFileError(f"{MAX_SKIPS} bad files in a row, the last one is {last}") from last

    def _count(self, error: BadFileError) -> None:
        with self._num_skipped.get_lock():
            self._num_skipped.value += 1
            logger.warning("INPUT.ON_BAD_FILE: skipped, the %d. time: %s", self._num_skipped.value, error)


def build_train_loader(
    samples: Dataset,
    sampler: NumberedSampler,
    batch_size: int,
    num_workers: int,
    collate: Callable[[list[Any]], Any] = trivial_batch_collator,
) -> DataLoader:
    """Return endless batches of `batch_size` samples, in the order of the sampler however many workers read them.

    Args:
        collate: makes a batch of the list of its samples; if it is not given, the list is the batch.
    """
    return DataLoader(
        samples,
        batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
        drop_last=True,
        # Seeds the workers. Without one of its own, starting the loader would draw from the model's random numbers.
        generator=torch.Generator(),
    )


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Seed numpy's and Python's global generators, which Detectron2's augmentations draw from, and restore them."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    for_numpy, for_python = np.random.SeedSequence(seed).generate_state(2)
    np.random.seed(for_numpy)
    random.seed(int(for_python))
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
