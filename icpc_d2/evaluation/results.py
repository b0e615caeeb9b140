"""An evaluation's figures, as a file for programs and as a table for people."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from icpc_d2.files import atomically

SUMMARY = ("mIoU", "fwIoU", "mACC", "pACC")


def write_results(results: Mapping[str, Any], output_dir: str, provenance: Mapping[str, Any] | None = None) -> str:
    """Write ``results.json`` and return its path: ``{"mIoU": ..., "IoU-sky": ...}`` in percent, null if absent; "loss".

    Args:
        results: Detectron2's, of one data set ``{"sem_seg": {...}}``, or ``{data set: {"sem_seg": {...}}}`` of several,
            which the file then names. Other tasks than "sem_seg" are named, too: "data set/task".
        provenance: of the figures; stands beside them under this name.
    """
    # JSON knows no NaN, and strict parsers refuse it.
    figures = {
        title: {name: value if math.isfinite(value) else None for name, value in figures.items()}
        for title, figures in _by_name(results).items()
    }
    content = dict(figures.get("", figures))
    if provenance is not None:
        content["provenance"] = provenance
    path = Path(output_dir, "results.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return str(path)


def results_table(results: Mapping[str, Any]) -> str:
    """Format the `results` of :func:`write_results`: a row per class with its IoU and accuracy, then the means."""
    tables = []
    for title, figures in _by_name(results).items():
        classes = [name.removeprefix("IoU-") for name in figures if name.startswith("IoU-")]
        rows = [[name, *(_text(figures[f"{kind}-{name}"]) for kind in ("IoU", "ACC"))] for name in classes]
        headers = ["class", "IoU", "accuracy"]
        table = tabulate(rows, headers, colalign=("left", "right", "right"), disable_numparse=True)
        summary = "  ".join(f"{name} {figures[name]:.2f}" for name in SUMMARY)
        summary += f"  loss {figures['loss']:.4f}" if "loss" in figures else ""
        tables.append("\n".join(filter(None, [title, table, summary])))
    return "\n\n".join(tables)


def _by_name(results: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """Return the figures by data set and task, of which "sem_seg" stands without its name where that is clear."""
    if "sem_seg" in results:
        return {"": results["sem_seg"]} if len(results) == 1 else dict(results)
    return {
        dataset if task == "sem_seg" else f"{dataset}/{task}": figures
        for dataset, tasks in results.items()
        for task, figures in tasks.items()
    }


def _text(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "absent"
