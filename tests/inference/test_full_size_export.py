"""The paper's ResNet-50 at its full size, 150 classes with text in the graph, as an ONNX file."""

from pathlib import Path

import pytest
import torch

from icpc_d2.analysis.random_models import build_random, load_resolved_config
from icpc_d2.config import get_config_file
from icpc_d2.inference.export.export import ExportOptions, export_model


@pytest.mark.slow
def test_icpc_r50_at_512(tmp_path: Path) -> None:
    cfg = load_resolved_config(get_config_file("ade20k/icpc_R50.yaml"), ["MODEL.WEIGHTS", ""], device="cpu")
    torch.manual_seed(0)
    torch.save({"model": build_random(cfg).state_dict()}, tmp_path / "model_final.pth")
    (tmp_path / "config.yaml").write_text(cfg.dump())
    found = export_model(tmp_path / "model_final.pth", tmp_path / "model.onnx", ExportOptions(size=(512, 512)))
    assert [comparison.size for comparison in found] == [(512, 512)] * 2
    assert max(comparison.difference for comparison in found) < 1e-4, "of the spread; allowed are 1e-3"
    assert min(comparison.equal for comparison in found) >= 0.9999
