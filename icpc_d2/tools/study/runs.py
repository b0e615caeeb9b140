"""A run of a study, a training or the evaluation of one: its command, where it stands, and how far it is."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from icpc_d2.checkpoint.checkpoint_folder import FINAL
from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.checkpoint.sources import hash_of_located, locate
from icpc_d2.config import load_config
from icpc_d2.engine.run_folder.metrics import read_metrics
from icpc_d2.files import atomically

STATE_FILE = "study_run.json"
# Of the time of a training, for the time to go.
EVALUATION_EFFORT = 0.2


@dataclass(frozen=True)
class StudyRun:
    """A config with a seed."""

    label: str  # of its config
    config: Path
    seed: int
    options: tuple[str, ...]  # KEY VALUE pairs that change the config
    folder: Path  # of its output
    training: "StudyRun | None" = None  # an evaluation: the run whose last weights it evaluates

    def arguments(self) -> list[str]:
        """Return the command line of ``train_net.py``; an interrupted training goes on from its last checkpoint."""
        options = [*self.options, "SEED", str(self.seed), "OUTPUT_DIR", str(self.folder)]
        if self.training is None:
            return ["--config-file", str(self.config), "--resume", *options]
        # Behind the options, which may name the weights that trainings start from.
        return ["--config-file", str(self.config), "--eval-only", *options, "MODEL.WEIGHTS", str(self.training.weights)]

    @property
    def weights(self) -> Path:
        """The last weights of a training."""
        return self.folder / FINAL

    @property
    def effort(self) -> float:
        """The time that it takes, as a share of a training's."""
        return 1.0 if self.training is None else EVALUATION_EFFORT

    def fingerprint(self) -> str:
        """Return a hash of config, options and seed, which stays the same after an upgrade of the code."""
        content = [CfgNode.load_yaml_with_base(str(self.config)), self.options, self.seed]
        if self.training is not None:
            content.append(self.training.fingerprint())
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def read_config(self) -> CfgNode:
        """Read the run's config, options included.

        Raises:
            ValueError: the config or the options are wrong.
        """
        try:
            return load_config(str(self.config), self.options)
        except ValueError as error:
            raise ValueError(f"{self.config} with the options {list(self.options)}: {error}") from error

    def iterations(self) -> int:
        """Read how many iterations the run has in all; an evaluation has none.

        Raises:
            ValueError: see :meth:`read_config`.
        """
        return self.read_config().SOLVER.MAX_ITER if self.training is None else 0

    def fetch_weights(self) -> None:
        """Fetch what a training starts from: before the first run, and not by several at the same time.

        Raises:
            ValueError, OSError: see :func:`icpc_d2.checkpoint.sources.locate`.
        """
        for address in self._starts_from():
            if not Path(locate(address)).is_file():
                raise FileNotFoundError(f"{self.label}: {self.config} starts from {address}, which does not exist.")

    def _starts_from(self) -> list[str]:
        """Return the weights that a training starts from, each once."""
        if self.training is not None:
            return []
        model = self.read_config().MODEL
        return [address for address in dict.fromkeys((model.WEIGHTS, model.TEXT_ENCODER.WEIGHTS)) if address]

    def progress(self, iterations: int) -> float:
        """Return the share of its iterations that a run has done, 0..1; evaluations do not count."""
        done = max((line.get("iteration", 0) for line in read_metrics(self.folder)), default=0)
        return min(1.0, done / iterations) if iterations else 0.0

    def state(self) -> dict[str, Any]:
        """Read what :meth:`save_state` has written: nothing, for a run that was never started."""
        path = self.folder / STATE_FILE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def save_state(self, finished: bool, seconds: float) -> None:
        """Remember whether the run is finished and how long it took so far.

        ``results.json`` could not tell: each evaluation of a training writes it, not only the last one.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {"fingerprint": self.fingerprint(), "finished": finished, "seconds": round(seconds, 1)}
        if self.training is None:
            state["starts_from"] = {address: hash_of_located(address) for address in self._starts_from()}
        elif finished:
            state["weights"] = sha256_of(str(self.training.weights))
        with atomically(self.folder / STATE_FILE) as temporary:
            temporary.write_text(json.dumps(state) + "\n", encoding="utf-8")

    def is_finished(self) -> bool:
        """Tell whether the run has come to its end; an evaluation has not where the training was made anew since.

        Raises:
            ValueError: the folder holds a run of another config, other options or another seed, or from other weights.
        """
        state = self.state()
        if state and state["fingerprint"] != self.fingerprint():
            raise ValueError(
                f"{self.folder} holds a run of another config than {self.config} is now, or of other options; remove "
                "the folder to train again, or choose another --out."
            )
        for address, sha256 in state.get("starts_from", {}).items():
            # An address stays the same when a file is written anew, or comes with another version of this package.
            if sha256 and hash_of_located(address) not in (None, sha256):
                raise ValueError(
                    f"{self.folder} holds a run that started from {address} when that was another file (SHA-256 "
                    f"{sha256}); remove the folder to train again, or choose another --out."
                )
        finished = state.get("finished", False) and (self.folder / "results.json").is_file()
        return finished and (self.training is None or self._is_of_todays_weights(state))

    def _is_of_todays_weights(self, state: dict[str, Any]) -> bool:
        weights = self.training.weights
        return weights.is_file() and self.training.is_finished() and sha256_of(str(weights)) == state["weights"]
