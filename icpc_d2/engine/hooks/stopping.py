"""Ending a training between two steps: on a signal, or because a batch could not be read."""

import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm
from torch.utils.data import DataLoader

from icpc_d2.data.loader import NumberedSampler

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """A training's end by a signal; unless it is caught, the process exits with the code it holds, 128 + signal."""


class StopOnSignal(HookBase):
    """Notes SIGTERM and SIGINT during a training, for :class:`Batches` to end it; a second SIGINT ends it at once."""

    def __init__(self) -> None:
        self.received = 0  # number of the signal; 0: none
        self.is_agreed = False  # all processes end because of a signal that one of them has received
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def before_train(self) -> None:
        """Take over the signals. Only the main thread of a process can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}

    def after_train(self) -> None:
        """Give the signals back, when the main process has saved."""
        if self.is_agreed:
            comm.synchronize()  # whoever has started the processes ends the others as soon as one is gone
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a loader's worker, which its process will end
        self.received = self.received or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
        # Not by the logger or print, which may be what the signal has interrupted.
        name = signal.Signals(number).name
        os.write(2, f"{name}: a checkpoint is saved after this iteration, then the training ends.\n".encode())


@dataclass
class Batches:
    """The batches of a loader. Before each one all processes agree whether to go on, so that they end at one point."""

    loader: Iterable[list[dict[str, Any]]]  # of this process's share of each batch
    stop: StopOnSignal  # notes signals

    def skip(self, count: int) -> None:
        """Leave out the samples that an earlier run has seen in this process, before the first batch is read."""
        sampler = getattr(self.loader, "sampler", None)
        if isinstance(sampler, NumberedSampler):
            sampler.start = count
        elif count:
            logger.warning("The training's loader cannot continue where it was: the order of its data starts anew.")

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the batches.

        Raises:
            Stopped: a process has received a signal.
            RuntimeError: another process could not read its batch, or a worker was killed.
        """
        iterator, error, batch = None, None, None
        while True:
            if not self.stop.received:
                try:
                    iterator = _iterate(self.loader) if iterator is None else iterator
                    batch = next(iterator)
                except Exception as caught:
                    error = caught
            states = comm.all_gather((self.stop.received, str(error or "")))
            signals, errors = ([state for state in column if state] for column in zip(*states, strict=True))
            if signals:  # first, because what ends this process may have killed its workers
                self.stop.is_agreed = True
                raise Stopped(128 + signals[0])
            if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
                raise RuntimeError(
                    f"{error}. A worker that the system kills has mostly run out of memory: lower "
                    "DATALOADER.NUM_WORKERS, and continue with --resume."
                ) from error
            if error is not None:
                raise error
            if errors:
                raise RuntimeError(f"Another process could not read its batch: {errors[0]}")
            yield batch


def _iterate(loader: Iterable[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """Iterate with PyTorch's SIGCHLD handler off; a dead worker surfaces at the next fetch."""
    iterator = iter(loader)
    handler = signal.getsignal(signal.SIGCHLD)
    if isinstance(loader, DataLoader) and getattr(handler, "__module__", "").startswith("torch."):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return iterator
