"""A trained model as one file to hand on: its weights, merged config, class names, and whether it uses QuickGELU.

``.safetensors`` has all but the weights in its metadata, ``.pth`` beside them.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

ENDINGS = (".pth", ".safetensors")
# Statistics of BatchNorm, whose range half precision does not have; they are a thousandth of the weights.
STATISTICS = ("running_mean", "running_var")


def pack(
    weights: Mapping[str, Tensor], config: str, class_names: list[str], half: bool, quick_gelu: bool | None = None
) -> dict[str, Any]:
    """Put together the content of a model's file.

    Args:
        config: the merged config, as YAML.
        half: store weights as float16, in half of the space; they are computed with in float32 as before.
        quick_gelu: the activation that they were trained with is QuickGELU, or GELU; None: there is neither.

    Raises:
        ValueError: a weight is beyond what half precision can hold.
    """
    stored = {name: to_half(name, value) if half else value.detach() for name, value in weights.items()}
    return {"model": stored, "config": config, "class_names": class_names, "quick_gelu": quick_gelu}


def to_half(name: str, value: Tensor) -> Tensor:
    """Return a weight in float16, but for numbers that are none and statistics of BatchNorm.

    Raises:
        ValueError: it is beyond what half precision can hold.
    """
    if not value.is_floating_point() or name.endswith(STATISTICS):
        return value.detach()
    halved = value.detach().half()
    if not bool(halved.isfinite().all()):
        raise ValueError(f"{name} has values beyond half precision ({value.abs().max():.3g}): leave --half out.")
    return halved


def save_content(content: Mapping[str, Any], path: Path) -> None:
    """Write what :func:`pack` or a conversion has made, in the format that the ending says."""
    if path.suffix != ".safetensors":
        torch.save(dict(content), path)
        return
    rest = {key: value for key, value in content.items() if key != "model"}
    metadata = {"format": "pt", **{key: v if isinstance(v, str) else json.dumps(v) for key, v in rest.items()}}
    save_file({name: value.contiguous().clone() for name, value in content["model"].items()}, path, metadata)


def read_safetensors(file_name: str) -> dict[str, Any]:
    """Read weights alone, or what :func:`save_content` has written."""
    metadata, weights = _metadata(file_name), load_file(file_name)
    if "class_names" not in metadata:
        return {"model": weights}
    rest = {key: json.loads(metadata[key]) for key in ("class_names", "quick_gelu") if key in metadata}
    return {"model": weights, "config": metadata.get("config"), **rest}


def config_within(file: Path) -> str | None:
    """Return the YAML of a model's file, of which the weights are not read; None: it holds none."""
    try:
        if file.suffix == ".safetensors":
            config = _metadata(str(file)).get("config")
        else:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            config = content.get("config") if isinstance(content, dict) else None
    except (OSError, RuntimeError, ValueError, SafetensorError, pickle.UnpicklingError):
        return None  # whoever reads the weights says what is wrong
    return config if isinstance(config, str) else None


def _metadata(file_name: str) -> dict[str, str]:
    with safe_open(file_name, "pt") as file:
        return file.metadata() or {}
