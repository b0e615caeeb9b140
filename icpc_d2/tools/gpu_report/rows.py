"""All rows of the report, in the order of worth, and the config of each."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.config import CfgNode

from icpc_d2.analysis.random_models import load_resolved_config
from icpc_d2.config import get_config_file

# Method -> its configs, and what it changes.
METHODS: dict[str, tuple[str, list[Any]]] = {
    "ICPC": ("icpc", []),
    "DenseCLIP": ("denseclip", []),
    "ICPC, the paper's form": ("icpc", ["MODEL.FAST", False]),
    "CLIP + Semantic FPN": ("clip_fpn", []),
}
BACKBONES = {"R50": "RN50", "R101": "RN101", "ViTB": "ViT-B/16"}
FOLDERS = {150: "ade20k", 847: "ade20k_full"}
PRECISIONS = ("bfloat16", "TF32", "float32")
# An evaluation computes in float32, as its config has no other.
TASKS = {"training": PRECISIONS, "forward": PRECISIONS, "evaluation": PRECISIONS[1:]}

# Task, backbone, K, precision: what is wanted most; the rest follows.
FIRST = [
    ("training", "R50", 150, "bfloat16"),
    ("training", "R50", 847, "bfloat16"),
    ("forward", "R50", 150, "bfloat16"),
    ("forward", "R50", 150, "TF32"),
    ("evaluation", "R50", 150, "TF32"),
    ("training", "ViTB", 150, "bfloat16"),
    ("training", "R101", 150, "bfloat16"),
    ("training", "R50", 150, "TF32"),
    ("evaluation", "R50", 847, "TF32"),
    ("forward", "R50", 847, "bfloat16"),
    ("forward", "ViTB", 150, "bfloat16"),
    ("training", "R50", 150, "float32"),
]

# A config of the paper with the quickstart's networks.
TINY: list[Any] = ["MODEL.CLIP.IMAGE_SIZE", 0, "MODEL.CONTEXT_DECODER.WIDTH", 64]
TINY += ["MODEL.FPN.OUT_CHANNELS", 32, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "INPUT.CROP.SIZE", [64, 64]]
TINY += ["INPUT.MIN_SIZE_TRAIN", [64], "INPUT.MIN_SIZE_TEST", 64]
TINY += ["TEST.SLIDING_WINDOW.SIZE", 64, "TEST.SLIDING_WINDOW.STRIDE", 43]
TINY_ENCODERS = {"R50": ["tiny-RN"], "R101": ["tiny-RN"], "ViTB": ["tiny-ViT", "MODEL.CLIP.VIT_BLOCKS", [0, 1, 2, 3]]}
TINY_CLASSES = {150: 12, 847: 30}


@dataclass(frozen=True)
class ReportRow:
    """A measurement of the report."""

    task: str  # "training": a step of the optimizer; "forward": images to logits; "evaluation": an image to labels
    backbone: str  # a key of BACKBONES
    classes: int  # K, of the full-size config
    precision: str
    method: str

    def __str__(self) -> str:
        return f"{self.task}, {BACKBONES[self.backbone]}, K = {self.classes}, {self.precision}: {self.method}"


def list_rows() -> list[ReportRow]:
    """List all rows, those of most worth first; the methods of one setting stand together."""
    all_settings = (
        (task, backbone, classes, precision)
        for classes, backbone, task in itertools.product(FOLDERS, BACKBONES, TASKS)
        for precision in TASKS[task]
    )
    settings = dict.fromkeys([*FIRST, *all_settings])
    return [ReportRow(*setting, method) for setting in settings for method in METHODS]


def read_row_config(row: ReportRow, device: str, is_tiny: bool, options: Sequence[Any] = ()) -> CfgNode:
    """Read the config of a row.

    Args:
        is_tiny: with the quickstart's networks and few classes, for a trial on a CPU.
        options: KEY VALUE pairs, which change it again.
    """
    name, changes = METHODS[row.method]
    if row.task == "training" and row.precision == "bfloat16":
        changes = [*changes, "SOLVER.AMP.ENABLED", True, "SOLVER.AMP.PRECISION", "bfloat16"]
    if is_tiny:
        changes = [*changes, *TINY, "MODEL.CLIP.ARCH", *TINY_ENCODERS[row.backbone]]
    file = get_config_file(f"{FOLDERS[row.classes]}/{name}_{row.backbone}.yaml")
    return load_resolved_config(file, [*changes, *options], TINY_CLASSES[row.classes] if is_tiny else 0, device)
