"""The provenance of a run's figures: command, seed, code, packages and hardware."""

import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from icpc_d2.checkpoint.sources import hash_of_located
from icpc_d2.files import atomically

FILE = "provenance.json"
# Besides PyTorch, which says itself what it was built for, and Detectron2, which comes without metadata.
PACKAGES = ("icpc_d2", "torchvision", "open_clip_torch", "fvcore", "numpy", "opencv-python-headless")
PACKAGES += ("pillow", "safetensors", "huggingface_hub")
_CODE = Path(__file__).parents[2]


def describe_run(cfg: CfgNode) -> dict[str, Any]:
    """Describe the present process as plain data: time (UTC), seed, code ("git": None for an installed package), ..."""
    named = (cfg.MODEL.WEIGHTS, cfg.MODEL.TEXT_ENCODER.WEIGHTS)
    versions = {"python": platform.python_version(), "torch": torch.__version__, "detectron2": detectron2.__version__}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):  # such as opencv under another name
            versions[package] = metadata.version(package)
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "config": "config.yaml",  # in the output folder
        "weights": cfg.MODEL.WEIGHTS,
        # Of the files that they name, as far as this run has them.
        "sha256": {name: digest for name in named if name and (digest := hash_of_located(name))},
        "seed": cfg.SEED,
        "git": describe_git(_CODE),
        "packages": versions,
        "hardware": _hardware(cfg.MODEL.DEVICE),
    }


def write_start(cfg: CfgNode) -> None:
    """Add the main process to ``provenance.json``, a list of all starts of a training in order."""
    if comm.is_main_process():
        folder = Path(cfg.OUTPUT_DIR)
        folder.mkdir(parents=True, exist_ok=True)
        starts = [*read_starts(folder), describe_run(cfg)]
        with atomically(folder / FILE) as temporary:
            temporary.write_text(json.dumps(starts, indent=2) + "\n", encoding="utf-8")


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """Read what :func:`write_start` has written, the newest last; nothing if the file is missing or damaged."""
    try:
        starts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return starts if isinstance(starts, list) else []


def describe_git(folder: Path) -> dict[str, Any] | None:
    """Return the commit of a folder's files, and whether they were changed since; None outside of a clone."""

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True, timeout=30)
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not a package installed somewhere below a clone
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware(device: str) -> dict[str, Any]:
    gpus = range(torch.cuda.device_count()) if device.startswith("cuda") else ()
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    cpus = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "device": device,
        "processes": comm.get_world_size(),
        "gpus": [torch.cuda.get_device_name(index) for index in gpus],
        "cpu": next(cpus, platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
    }
