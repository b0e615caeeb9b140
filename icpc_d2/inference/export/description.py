"""The metadata of an exported file, so that nothing else is needed to use it."""

import json
from pathlib import Path

import torch
from detectron2.config import CfgNode

from icpc_d2.checkpoint.download import sha256_of
from icpc_d2.checkpoint.sources import locate
from icpc_d2.inference.onnx_predictor import FORMAT
from icpc_d2.visualization import Palette


def describe(cfg: CfgNode, palette: Palette, outputs: list[str], predict_from: str, precision: str) -> dict[str, str]:
    """Return the metadata of an exported file, each value a text or JSON.

    Args:
        cfg: of the model, with ``MODEL.WEIGHTS`` the checkpoint.
        palette: of the classes that the file predicts.
        outputs: names of what the graph returns.
        predict_from: "decoder" or "alignment".
        precision: "float32" or "float16".
    """
    window = cfg.TEST.SLIDING_WINDOW
    rule = {
        "channels": "RGB",
        "values": "0..255",
        "short_side": cfg.INPUT.MIN_SIZE_TEST,
        "max_long_side": cfg.INPUT.MAX_SIZE_TEST,
        "resize": cfg.INPUT.RESIZE,
        "value_range": list(cfg.INPUT.VALUE_RANGE),
        "window": [window.SIZE, window.STRIDE] if window.ENABLED else None,
    }
    weights = Path(locate(cfg.MODEL.WEIGHTS))
    return {
        "format": FORMAT,
        "classes": json.dumps(palette.names),
        "colors": json.dumps(palette.colors.tolist()),
        "outputs": json.dumps(outputs),
        "predict_from": predict_from,
        "preprocessing": json.dumps(rule),
        "precision": precision,
        "architecture": f"{cfg.MODEL.META_ARCHITECTURE} {cfg.MODEL.CLIP.ARCH}",
        "checkpoint": weights.name,
        "checkpoint_sha256": sha256_of(weights),
        "pytorch": torch.__version__,
    }
