"""From an image to labels, by a checkpoint or an exported file. `OnnxPredictor` is loaded when it is asked for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icpc_d2.inference.onnx_predictor import OnnxPredictor

__all__ = ["OnnxPredictor"]


def __getattr__(name: str) -> Any:
    if name == "OnnxPredictor":
        from icpc_d2.inference.onnx_predictor import OnnxPredictor

        return OnnxPredictor
    raise AttributeError(f"module 'icpc_d2.inference' has no attribute {name!r}")
