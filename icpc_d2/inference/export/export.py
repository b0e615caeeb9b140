"""From a checkpoint to a file that runs without this package, checked against the model before it is kept."""

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as symbolic_shapes

from icpc_d2.files import TEMPORARY
from icpc_d2.inference.export.check import FileComparison, check, compare_with_model, draw_pictures
from icpc_d2.inference.export.description import describe
from icpc_d2.inference.export.formats import FORMATS
from icpc_d2.inference.export.graph import WindowGraph
from icpc_d2.inference.predictor import load_model, training_colors
from icpc_d2.modeling.segmentor import Segmentor
from icpc_d2.visualization import Palette
from icpc_d2.visualization.palette import parse_colors

logger = logging.getLogger(__name__)

# Heights and widths, in pixels, that a file for all sizes is recorded for, with padding and without. `torch.export`
# takes maps of one pixel for a case of their own; as ONNX the same graph takes smaller images, too.
SMALLEST_PADDED, SMALLEST_UNPADDED, LARGEST = 33, 64, 8192
# Sizes that such a file is traced with and then checked at: none of them special.
TRACED = (96, 160)


@dataclass(frozen=True)
class ExportOptions:
    """The choices of what a file computes; see :class:`icpc_d2.inference.export.graph.WindowGraph`."""

    # Height and width that it takes; None: any, or the side of its sliding window, if the model does not pad.
    size: tuple[int, int] | None = None
    dynamic: bool = False  # images of any size, or an error
    class_names: Sequence[Sequence[str]] | None = None  # of other classes, all names of each
    labels: bool = False
    alignment: bool = False
    half: bool = False


def export_model(source: str | os.PathLike | CfgNode, target: Path, options: ExportOptions) -> list[FileComparison]:
    """Write a checkpoint's model as ``.onnx`` or ``.pt2``; the file appears only after it was run beside the model.

    Args:
        source: as of :class:`icpc_d2.inference.predictor.Predictor`.
        target: the file; its folder is made, and its ending says which kind.

    Returns:
        How far the file is from the model, on two pictures.

    Raises:
        ExportError: too far; then no file is left.
        ValueError: the ending or an option does not fit.
        ImportError: something of the extra ``[export]`` is missing.
    """
    if target.suffix not in FORMATS:
        raise ValueError(f"{target}: found the ending {target.suffix!r}, wanted one of {', '.join(FORMATS)}.")
    write, load = FORMATS[target.suffix]
    cfg, model = load_model(source, "cpu")
    if cfg.TEST.AUG.ENABLED:
        logger.warning("TEST.AUG.ENABLED is True: the model averages several views of an image; the file sees it once.")
    arguments = (model, cfg.INPUT.FORMAT, options.class_names, options.labels, options.alignment)
    graph = WindowGraph(*arguments)
    colors = parse_colors(cfg.MODEL.CLASS_COLORS, len(cfg.MODEL.CLASS_NAMES))
    palette = Palette(cfg.MODEL.CLASS_NAMES, colors or training_colors(cfg.DATASETS.TRAIN, cfg.MODEL.CLASS_NAMES))
    if options.class_names is not None:
        palette = palette.renamed([name for name, *_ in options.class_names])
    precision = "float16" if options.half else "float32"
    predict_from = cfg.MODEL.PREDICT_FROM if options.class_names is None else "alignment"
    metadata = describe(cfg, palette, graph.output_names, predict_from, precision)
    size = choose_size(options, model)
    program = trace(WindowGraph(*arguments, half=True) if options.half else graph, size)
    sizes = [size] * 2 if size else [(128, 224), (197, 101)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as folder:
        files = write(program, Path(folder) / target.name, graph.output_names, metadata)
        comparisons = compare_with_model(load(files[0]), graph, sizes)
        check(comparisons, precision)
        # Without the old one first: it would be read with the new one's weights.
        target.unlink(missing_ok=True)
        target.with_name(f"{target.name}.data").unlink(missing_ok=True)
        for file in reversed(files):
            os.replace(file, target.with_name(file.name))
    return comparisons


def choose_size(options: ExportOptions, model: Segmentor) -> tuple[int, int] | None:
    """Return the one size that a file is for; None: any.

    Unpadded, maps of all sizes are interpolated to each other in case they differ, so that a file for the window alone
    is faster.
    """
    if options.size is None and not options.dynamic and not model.pad_to_stride and model.window is not None:
        side = model.window[0]
        logger.info(f"Recorded for the size of the window alone, {side} x {side}; --dynamic: for all sizes.")
        return side, side
    return options.size


@torch.no_grad()
def trace(graph: WindowGraph, size: tuple[int, int] | None) -> ExportedProgram:
    """Record what the graph computes, for images of one size, or of any (None).

    Raises:
        ValueError: this PyTorch cannot record a model for any size.
    """
    (picture,) = draw_pictures([size or TRACED])
    inputs = (torch.from_numpy(picture),)
    if size is not None:
        return torch.export.export(graph, inputs, strict=False)
    if not hasattr(symbolic_shapes, "backed_size_oblivious"):
        raise ValueError(
            f"PyTorch {torch.__version__} cannot record a model for images of all sizes: give --size H W, or install "
            "PyTorch 2.8 or later."
        )
    smallest = SMALLEST_PADDED if graph.model.pad_to_stride else SMALLEST_UNPADDED
    shapes = {"image": {axis: Dim(name, min=smallest, max=LARGEST) for axis, name in ((2, "height"), (3, "width"))}}
    # Else padding would be decided by the size of the example: whether it has any is a question to be left open.
    with symbolic_shapes.patch(backed_size_oblivious=True):
        return torch.export.export(graph, inputs, dynamic_shapes=shapes, strict=False)
