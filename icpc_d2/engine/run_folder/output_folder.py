"""The folder that a training writes to: writable, its own, and without the lines of iterations that are repeated."""

import fcntl
import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from icpc_d2.checkpoint.checkpoint_folder import newest_first

logger = logging.getLogger(__name__)

LOCK = ".lock"
METRICS = "metrics.json"


@dataclass
class OutputFolder:
    """``OUTPUT_DIR`` of one training."""

    path: Path
    _lock: int | None = field(default=None, init=False)

    def check_writable(self) -> None:
        """Make the folder if it is not there; raise an OSError if no file can be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(b"\0")
        except OSError as error:
            raise OSError(f"OUTPUT_DIR {self.path} cannot be written ({error}): choose another one.") from error

    def refuse_earlier_training(self) -> None:
        """Raise a FileExistsError if there are checkpoints, with which a new training would mix its own."""
        found = newest_first(self.path)
        if found:
            raise FileExistsError(
                f"OUTPUT_DIR {self.path} holds checkpoints of an earlier training ({found[0].name}): continue it with "
                "--resume, choose another OUTPUT_DIR, or remove the folder."
            )

    def lock(self) -> None:
        """Keep other trainings out until :meth:`unlock` or the end of this process, however it ends.

        Raises:
            BlockingIOError: another process trains into this folder.
        """
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # Not flock, which the workers of a loader would hold on to when this process is killed.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.unlock()
            raise BlockingIOError(
                f"Another process trains into OUTPUT_DIR {self.path}: wait for it, or choose another folder."
            ) from error
        except OSError as error:
            logger.warning("%s cannot be locked (%s): see to it that no other training writes there.", self.path, error)

    def unlock(self) -> None:
        """Let others in again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def cut_metrics(self, iteration: int) -> None:
        """Drop from ``metrics.json`` the lines from an iteration on, and one that a killed run left unfinished.

        In place, because the training holds the file open already.
        """
        file, end = self.path / METRICS, 0
        if not file.is_file():
            return
        for line in file.read_bytes().splitlines(keepends=True):
            if not _is_before(line, iteration):
                break
            end += len(line)
        os.truncate(file, end)


def _is_before(line: bytes, iteration: int) -> bool:
    """Tell whether a line of ``metrics.json`` is whole and of an iteration before this one."""
    try:
        return line.endswith(b"\n") and json.loads(line)["iteration"] < iteration
    except (ValueError, KeyError, TypeError):
        return False
