"""The checkpoints of a training as files of one folder: written whole, found newest first, thinned out.

Their order is that of the iterations in their names; clocks may jump. ``last_checkpoint`` holds the name of the newest.
"""

import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from icpc_d2.files import TEMPORARY, atomically

logger = logging.getLogger(__name__)

TAG = "last_checkpoint"
FINAL = "model_final.pth"
_NUMBERED = re.compile(r"model_(\d{7,})\.pth")


def checkpoint_name(iteration: int) -> str:
    """Return Detectron2's name, without ending, of the checkpoint after an iteration (0-based)."""
    return f"model_{iteration:07d}"


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is whole, and on the disk, before it has its name.

    Raises:
        OSError: it cannot be written, as on a full disk; files that were there stay as they are.
        FloatingPointError: a weight of the model is not finite.
    """
    if ruined := [name for name, value in content["model"].items() if not bool(value.isfinite().all())]:
        raise FloatingPointError(
            f"{path} is not written: {len(ruined)} tensors of the model hold NaN or infinity, first {ruined[0]}. "
            "Earlier checkpoints are whole: lower SOLVER.BASE_LR or set SOLVER.CLIP_GRADIENTS.ENABLED, and continue "
            "from them with --resume."
        )
    try:
        with atomically(path, durable=True) as temporary, temporary.open("wb") as file:
            # Given a name instead, torch would write it into the file.
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:  # torch turns what the disk says into a RuntimeError
        free = shutil.disk_usage(path.parent).free >> 20 if path.parent.is_dir() else 0
        raise OSError(
            f"Cannot write {path}: {error}. There are {free} MiB free. Earlier checkpoints are whole: make room "
            "(SOLVER.CHECKPOINTS_KEPT thins them out) and continue with --resume."
        ) from error


def newest_first(folder: Path) -> list[Path]:
    """List the checkpoints to continue from: the one that the tag names, then the others, highest iteration first."""
    tag = folder / TAG
    # A torn tag names nothing that exists; one written by something else must not point outside the folder.
    tagged = folder / Path(tag.read_text(errors="replace").strip()).name if tag.is_file() else folder
    others = [path for _, path in reversed(_numbered(folder))] + [folder / FINAL]
    return [path for path in dict.fromkeys([tagged, *others]) if path.is_file()]


def thin_out(folder: Path, iteration: int, kept: int) -> None:
    """Remove all but the newest `kept` of the numbered checkpoints up to the one just written; `kept` 0 removes none.

    Higher-numbered files (a damaged one that resume skipped) stay; training overwrites them.
    """
    if kept > 0:
        for _, path in [entry for entry in _numbered(folder) if entry[0] <= iteration][:-kept]:
            path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of a process that was killed while it wrote."""
    for path in folder.glob(f"{TEMPORARY}*"):
        logger.info("%s was left by a run that was killed while it wrote: removed.", path)
        path.unlink(missing_ok=True)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """List (iteration, file) in the order of iterations."""
    matches = ((_NUMBERED.fullmatch(path.name), path) for path in folder.glob("model_*.pth"))
    return sorted((int(match[1]), path) for match, path in matches if match)
