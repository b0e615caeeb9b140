"""One export for all tests of a process: it takes seconds."""

from pathlib import Path

import pytest

from icpc_d2.inference.export.check import Comparison
from icpc_d2.inference.export.export import ExportOptions, export_model
from tests.support.checkpoints import tiny_cfg, write_checkpoint


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart's model, exported for images of all sizes, in a folder with its checkpoint."""
    folder = tmp_path_factory.mktemp("exported")
    weights = write_checkpoint(folder, tiny_cfg("MODEL.CONTEXT_DECODER.NUM_LAYERS", 1))
    comparisons = export_model(weights, folder / "new" / "model.onnx", ExportOptions(alignment=True))
    assert [Comparison] * 2 == [type(comparison) for comparison in comparisons]
    return folder / "new" / "model.onnx"
