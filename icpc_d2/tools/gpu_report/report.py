"""The report: measured rows as Markdown and as JSON, written again after each of them."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import detectron2
import torch
from tabulate import tabulate

from icpc_d2.files import atomically
from icpc_d2.tools.gpu_report.measurements import workers_needed
from icpc_d2.tools.gpu_report.rows import BACKBONES, TASKS, ReportRow

HEADERS = ("encoder", "K", "precision", "method", "images x height x width", "ms", "images/s", "peak MiB", "kernels")
HEADERS += ("busy", "ICPC's time / this", "workers")
LEGEND = """\
- ms: median of a step of the optimizer ("training"), of one image to its logits ("forward"), or to its label map by
  sliding window ("evaluation"), until the device has finished.
- peak MiB: PyTorch's allocated memory, the model included. kernels: of one step, by torch.profiler; on a CPU operators
  that call no other one. busy: share of the time in which one of them runs.
- workers: processes of the mapper that keep up with a training of this speed on this machine.
- Weights, images and labels are random; text is kept between the images where none changes it (DenseCLIP)."""


@dataclass
class DeviceReport:
    """The rows measured so far, in a folder."""

    folder: Path
    command: str
    environment: dict[str, Any]
    planned: Sequence[ReportRow]
    mapper: dict[str, float] = field(default_factory=dict)  # encoder -> images a second of one process
    rows: dict[ReportRow, dict[str, Any]] = field(default_factory=dict)

    def add(self, row: ReportRow, figures: dict[str, Any]) -> None:
        """Add what `measure_row` has returned, and write both files."""
        if row.task == "training" and figures["status"] == "measured" and row.backbone in self.mapper:
            figures["workers"] = workers_needed(figures["images_per_second"], self.mapper[row.backbone])
        self.rows[row] = figures
        self.write()

    def write(self) -> None:
        """Write ``report.json`` and ``report.md``, each whole or not at all."""
        left = [row for row in self.planned if row not in self.rows]
        content = {
            "command": self.command,
            "environment": self.environment,
            "mapper_images_per_second": self.mapper,
            "rows": [asdict(row) | figures for row, figures in self.rows.items()],
            "not_run": [asdict(row) for row in left],
        }
        for name, text in (("report.json", json.dumps(content, indent=2)), ("report.md", self.format(left))):
            with atomically(self.folder / name) as path:
                path.write_text(f"{text}\n", encoding="utf-8")

    def format(self, left: Sequence[ReportRow]) -> str:
        """Format the report in Markdown; `left` are the rows that were not run."""
        lines = ["# Times on a device", "", f"`{self.command}`", ""]
        lines += [f"- {name}: {value}" for name, value in self.environment.items()]
        speeds = ", ".join(f"{speed:.1f} ({BACKBONES[name]}'s crops)" for name, speed in self.mapper.items())
        lines += [f"- training images a second of one process of the mapper: {speeds or 'not run'}", "", LEGEND, ""]
        for task in TASKS:
            rows = [self._cells(row, figures) for row, figures in self.rows.items() if row.task == task]
            if rows:
                align = ["right"] * len(HEADERS)
                table = tabulate(rows, HEADERS, tablefmt="pipe", colalign=align, disable_numparse=True)
                lines += [f"## {task.capitalize()}", "", table, ""]
        if left:
            lines += ["## Not run", "", "Time was up before:", "", *(f"- {row}" for row in left), ""]
        return "\n".join(lines).rstrip()

    def _cells(self, row: ReportRow, figures: Mapping[str, Any]) -> list[str]:
        start = [BACKBONES[row.backbone], str(figures.get("classes", row.classes)), row.precision, row.method]
        if figures["status"] != "measured":
            return [*start, figures["status"].replace("|", "/"), *[""] * (len(HEADERS) - 5)]
        ours = self.rows.get(ReportRow(row.task, row.backbone, row.classes, row.precision, "ICPC"), {})
        ratio = ours["seconds"] / figures["seconds"] if ours.get("status") == "measured" else None
        numbers = [
            (1000 * figures["seconds"], ".1f"),
            (figures["images_per_second"], ".1f"),
            (figures["peak_mib"], ".0f"),
            (figures["kernels"], "d"),
            (figures["busy"], ".0%"),
            (ratio, ".2f"),
            (figures.get("workers"), "d"),
        ]
        cells = ["" if value is None else format(value, form) for value, form in numbers]
        return [*start, "{batch} x {height} x {width}".format(**figures), *cells]


def describe_environment(device: str) -> dict[str, Any]:
    """Return what the figures depend on: the device, versions, and processor cores."""
    versions = {"PyTorch": torch.__version__, "Detectron2": detectron2.__version__, "Python": platform.python_version()}
    cores = os.cpu_count()
    if device == "cpu":
        threads = torch.get_num_threads()
        return {"device": f"CPU ({platform.processor() or platform.machine()})", "threads": threads, **versions}
    properties = torch.cuda.get_device_properties(device)
    memory = f"{properties.total_memory / 2**30:.0f} GiB, {properties.multi_processor_count} multiprocessors"
    versions |= {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
    return {"device": f"{properties.name}, {memory}", **versions, "processor cores": cores}
