"""One row of the report: its computation on random weights and images, and what that takes.

Shapes: B images, S side of a crop or of the shorter side of an image in pixels.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cv2
import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from PIL import Image

from icpc_d2.analysis.device_use import measure_use
from icpc_d2.analysis.random_models import build_random, random_batch
from icpc_d2.data.dataset_mapper import SemSegDatasetMapper
from icpc_d2.data.scenes.dataset import draw_scene
from icpc_d2.engine.parallel import prepare
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.engine.train_step import build_step
from icpc_d2.evaluation.label_maps import as_evaluated
from icpc_d2.modeling.class_names import get_class_names
from icpc_d2.tools.gpu_report.rows import ReportRow, read_row_config

TRAINING_BATCH = 4
# Of ADE20K's images: width by height.
ASPECT = 4 / 3
# Images that the mapper is timed with, and for how many seconds.
MAPPER_IMAGES, MAPPER_SECONDS = 4, 2.0

# torch 2.4 knows it by its former name alone.
OutOfMemory = torch.cuda.OutOfMemoryError


class Computation(NamedTuple):
    """The computation of a row, and how much it works on."""

    run: Callable[[], Any]
    batch: int
    height: int
    width: int


def measure_row(row: ReportRow, device: str, is_tiny: bool, options: Sequence[Any] = ()) -> dict[str, Any]:
    """Measure a row; arguments as of :func:`read_row_config`.

    Returns:
        "status" ("measured", "out of memory", or "failed: ..." with the error), and if measured "batch", "height",
        "width", "classes", "images_per_second", and what a `DeviceUse` holds.
    """
    try:
        cfg = read_row_config(row, device, is_tiny, options)
        with _tf32(row.precision != "float32"):
            computation = COMPUTATIONS[row.task](cfg, row.precision == "bfloat16")
            use = measure_use(computation.run, torch.device(cfg.MODEL.DEVICE))
    except OutOfMemory:
        return {"status": "out of memory"}
    except Exception as error:  # a row must not cost the others
        return {"status": f"failed: {type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    sizes = {name: value for name, value in computation._asdict().items() if name != "run"}
    speed = {"images_per_second": computation.batch / use.seconds, "classes": len(get_class_names(cfg))}
    return {"status": "measured", **sizes, **speed, **asdict(use)}


def _training(cfg: CfgNode, is_half: bool) -> Computation:
    """Make a step of the optimizer: B images and labels of S x S, as the loader gives them."""
    model = prepare(cfg, build_random(cfg))
    side = cfg.INPUT.CROP.SIZE[0]
    batches = itertools.repeat(random_batch(len(get_class_names(cfg)), TRAINING_BATCH, side))
    step = build_step(cfg, model, batches, build_optimizer(cfg, model))

    def run() -> None:
        with EventStorage() as step.storage:
            step.iter = 0
            step.run_step()

    return Computation(run, TRAINING_BATCH, side, side)


def _forward(cfg: CfgNode, is_half: bool) -> Computation:
    """Make the way of an image of 2S x 2S, on the device, to logits."""
    cfg, side = cfg.clone(), 2 * cfg.TEST.SLIDING_WINDOW.SIZE
    cfg.defrost()
    cfg.TEST.SLIDING_WINDOW.SIZE = cfg.TEST.SLIDING_WINDOW.STRIDE = side  # `MODEL.COMPILE ["predict"]` is of a window
    model = prepare(cfg, build_random(cfg))
    images = torch.randn(1, 3, side, side, device=model.device)

    @torch.no_grad()
    def run() -> None:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=is_half):
            model.predict(images)

    return Computation(run, 1, side, side)


def _evaluation(cfg: CfgNode, is_half: bool) -> Computation:
    """Make the way of an image whose shorter side is S to its label map, by sliding window."""
    model = as_evaluated(cfg, prepare(cfg, build_random(cfg))).eval()
    height, width = cfg.INPUT.MIN_SIZE_TEST, int(cfg.INPUT.MIN_SIZE_TEST * ASPECT)
    image = torch.randint(256, (3, height, width), dtype=torch.uint8)
    inputs = [{"image": image, "height": height, "width": width}]

    @torch.no_grad()
    def run() -> None:
        model(inputs)

    return Computation(run, 1, height, width)


COMPUTATIONS = {"training": _training, "forward": _forward, "evaluation": _evaluation}


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Let a GPU compute products of float32 in TF32, or not."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = allowed
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def measure_mapper(cfg: CfgNode) -> float:
    """Measure how many training images a second one process prepares: JPEGs of ADE20K's usual size, 683 x 512."""
    mapper = SemSegDatasetMapper(cfg, True)
    with TemporaryDirectory() as folder:
        samples = [_write_sample(Path(folder), index) for index in range(MAPPER_IMAGES)]
        mapper(samples[0])
        start, count, seconds = time.perf_counter(), 0, 0.0
        while not count or seconds < MAPPER_SECONDS:
            mapper(samples[count % len(samples)])
            count, seconds = count + 1, time.perf_counter() - start
        return count / seconds


def _write_sample(folder: Path, index: int) -> dict[str, str]:
    image, label = draw_scene(index)
    size = (int(512 * ASPECT), 512)
    sample = {"file_name": f"{folder}/{index}.jpg", "sem_seg_file_name": f"{folder}/{index}.png"}
    Image.fromarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)).save(sample["file_name"], quality=95)
    Image.fromarray(cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)).save(sample["sem_seg_file_name"])
    return sample


def workers_needed(images_per_second: float, mapper: float) -> int:
    """Return how many processes of the mapper keep a training of this speed busy."""
    return math.ceil(images_per_second / mapper)
