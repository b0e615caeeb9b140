"""The plan of a study: some configs, each trained with some seeds; where each run stands and how far it is."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from icpc_d2.config import load_config
from icpc_d2.engine.run_folder.metrics import read_metrics

REQUIRED = {"configs", "seeds"}
OPTIONAL = {"title", "metric", "options"}
STATE_FILE = "study_run.json"


@dataclass(frozen=True)
class StudyRun:
    """A training of a study."""

    label: str  # of its config
    config: Path
    seed: int
    options: tuple[str, ...]  # KEY VALUE pairs that change the config
    folder: Path  # of its output

    def arguments(self) -> list[str]:
        """Return the command line of ``train_net.py``; an interrupted run goes on from its last checkpoint."""
        options = [*self.options, "SEED", str(self.seed), "OUTPUT_DIR", str(self.folder)]
        return ["--config-file", str(self.config), "--resume", *options]

    def fingerprint(self) -> str:
        """Return a hash of config, options and seed, which stays the same after an upgrade of the code."""
        content = [CfgNode.load_yaml_with_base(str(self.config)), self.options, self.seed]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def iterations(self) -> int:
        """Read how many iterations the run has in all.

        Raises:
            ValueError: the config or the options are wrong.
        """
        try:
            return load_config(str(self.config), self.options).SOLVER.MAX_ITER
        except ValueError as error:
            raise ValueError(f"{self.config} with the options {list(self.options)}: {error}") from error

    def progress(self, iterations: int) -> float:
        """Return the share of its iterations that a run has done, 0..1; evaluations do not count."""
        done = max((line.get("iteration", 0) for line in read_metrics(self.folder)), default=0)
        return min(1.0, done / iterations)

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
        (self.folder / STATE_FILE).write_text(json.dumps(state) + "\n", encoding="utf-8")

    def is_finished(self) -> bool:
        """Tell whether the run has come to its end.

        Raises:
            ValueError: the folder holds a run of another config, other options or another seed.
        """
        state = self.state()
        if state and state["fingerprint"] != self.fingerprint():
            raise ValueError(
                f"{self.folder} holds a run of another config than {self.config} is now, or of other options; remove "
                "the folder to train again, or choose another --out."
            )
        return state.get("finished", False) and (self.folder / "results.json").is_file()


@dataclass(frozen=True)
class Study:
    """The content of a study file."""

    title: str  # in a line
    runs: tuple[StudyRun, ...]  # config by config, seed by seed
    metric: str  # to compare, a name in ``results.json``

    @property
    def by_label(self) -> dict[str, list[StudyRun]]:
        """The runs of each config."""
        return {run.label: [other for other in self.runs if other.label == run.label] for run in self.runs}


def read_study(path: Path, out: Path) -> Study:
    """Read a study file.

    It is YAML with ``configs`` (label -> config file, relative to the study file), ``seeds`` (a list of integers) and,
    if wanted, ``title``, ``metric`` (default ``mIoU``) and ``options`` (a list of KEY, VALUE, KEY, VALUE ... for all).

    Args:
        out: the folder of the runs.

    Raises:
        ValueError: the file says something else, or two labels would share a folder.
        FileNotFoundError: it, or a config that it names, is missing.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.keys() - OPTIONAL != REQUIRED:
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path}: found {found}, wanted {sorted(REQUIRED)} and, if needed, {sorted(OPTIONAL)}.")
    configs, seeds = content["configs"], content["seeds"]
    if not isinstance(configs, Mapping) or not configs:
        raise ValueError(f"{path}: 'configs' is {configs!r}, wanted 'label: config file' in a line each.")
    integers = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not integers or not seeds or len({*seeds}) < len(seeds):
        raise ValueError(f"{path}: 'seeds' is {seeds!r}, wanted different integers, 0 or more, as in [0, 1, 2].")
    options = tuple(map(str, content.get("options", [])))
    folders = {str(label): out / _folder_name(str(label)) for label in configs}
    if len(set(folders.values())) < len(folders):
        raise ValueError(f"{path}: two labels of {list(folders)} would share a folder; rename one.")
    runs = []
    for label, config in configs.items():
        config_path = path.parent / config
        if not config_path.is_file():
            raise FileNotFoundError(f"{path}: '{label}' names {config_path}, which does not exist.")
        folder = folders[str(label)]
        runs += [StudyRun(str(label), config_path, seed, options, folder / f"seed_{seed}") for seed in seeds]
    return Study(content.get("title", path.stem), tuple(runs), content.get("metric", "mIoU"))


def _folder_name(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "_"
