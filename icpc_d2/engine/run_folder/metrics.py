"""Readers of a run's figures: ``metrics.json``, a JSON object a line, and ``results.json``."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icpc_d2.visualization.curves import Curve

logger = logging.getLogger(__name__)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of ``metrics.json`` in the order in which they were written; none if there is no such file.

    Lines that a killed process left unfinished are skipped with a warning.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            logger.warning("%s, line %d is not JSON; a killed process may have left it: skipped.", path, number)
    return lines


def metric_curve(folder: Path, metric: str) -> Curve:
    """Read a metric over the iterations; of what a resumed run has evaluated twice, the later value.

    Args:
        metric: as in ``results.json``: "mIoU", "IoU-sky"; with several data sets "camvid_sem_seg_val/mIoU".

    Raises:
        ValueError: no line has the metric; the message names those that there are.
    """
    dataset, slash, name = metric.rpartition("/")
    key = f"{dataset}{slash}sem_seg/{name}"
    lines = read_metrics(folder)
    values = {line["iteration"]: line[key] for line in lines if key in line}
    if not values:
        known = sorted({name.replace("sem_seg/", "") for line in lines for name in line if "sem_seg/" in name})
        raise ValueError(
            f"{folder / 'metrics.json'} has no '{key}'; "
            + (f"wanted is one of: {', '.join(known)}." if known else "it holds no evaluation (TEST.EVAL_PERIOD).")
        )
    return Curve(*zip(*sorted(values.items()), strict=True))


def read_result(folder: Path, metric: str) -> float:
    """Read a figure of ``results.json``, in percent, by the same names as :func:`metric_curve`.

    Raises:
        ValueError: the file has no such figure.
    """
    path = folder / "results.json"
    found: Any = json.loads(path.read_text(encoding="utf-8"))
    dataset, _, name = metric.rpartition("/")
    if dataset:
        found = found.get(dataset, {})
    value = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(value, int | float):
        raise ValueError(f"{path} has no figure '{metric}'; wanted is one of: {', '.join(found)}.")
    return float(value)


def find_runs(folder: Path) -> list[Path]:
    """Return the folder itself if it is a training's, else those of the trainings in it, such as of several seeds.

    Raises:
        FileNotFoundError: there is none.
    """
    runs = [folder] if (folder / "metrics.json").is_file() else sorted(p.parent for p in folder.glob("*/metrics.json"))
    if not runs:
        wrong = "there is no metrics.json in it, nor in its folders. Is it a run's OUTPUT_DIR?"
        raise FileNotFoundError(f"{folder}: {wrong}")
    return runs
