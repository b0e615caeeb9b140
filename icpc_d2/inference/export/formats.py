"""The two kinds of exported files: how each is written, and run for the check."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

# Weights of more bytes lie beside an ONNX file: protobuf takes 2 GiB in all.
EXTERNAL_BYTES = 2**31 - 2**26
NAMESPACE = "icpc."
PT2_METADATA = "icpc.json"

Run = Callable[[np.ndarray], Sequence[np.ndarray]]


def write_onnx(program: ExportedProgram, path: Path, outputs: Sequence[str], metadata: dict[str, str]) -> list[Path]:
    """Write an ONNX file, and beside it the weights that are too large for it; return the files.

    Raises:
        ImportError: onnx or onnxscript is missing.
    """
    exported = torch.onnx.export(
        program, dynamo=True, input_names=["image"], output_names=list(outputs), optimize=True, verbose=False
    )
    exported.model.metadata_props.update({f"{NAMESPACE}{key}": value for key, value in metadata.items()})
    size = sum(tensor.const_value.nbytes for tensor in exported.model.graph.initializers.values())
    external = size > EXTERNAL_BYTES
    exported.save(path, external_data=external)
    return [path, *([path.with_name(f"{path.name}.data")] if external else [])]


def run_onnx(path: Path) -> Run:
    """Load an ONNX file, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda picture: session.run(None, {"image": picture})


def write_pt2(program: ExportedProgram, path: Path, outputs: Sequence[str], metadata: dict[str, str]) -> list[Path]:
    """Write a file of ``torch.export``, with the metadata as ``icpc.json`` inside of it; return the files."""
    torch.export.save(program, path, extra_files={PT2_METADATA: json.dumps(metadata, indent=1)})
    return [path]


def run_pt2(path: Path) -> Run:
    """Load a file of ``torch.export``."""
    module = torch.export.load(path).module()
    return lambda picture: [output.numpy() for output in module(torch.from_numpy(picture))]


# By the file's ending: what writes it, and what loads it.
FORMATS = {".onnx": (write_onnx, run_onnx), ".pt2": (write_pt2, run_pt2)}
