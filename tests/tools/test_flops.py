import json
from pathlib import Path

import pytest

from icpc_d2.tools.flops.command import main
from icpc_d2.tools.flops.sweep import plot_cost_curves
from tests.support.configs import CONFIGS

TINY = str(CONFIGS / "quickstart/icpc_tiny.yaml")
KEYS = {
    "total_gmacs",
    "text_encoder_gmacs",
    "naive_text_encoder_gmacs",
    "without_text_gmacs",
    "alignment_gmacs",
    "naive_alignment_gmacs",
    "params_m",
    "params_without_text_m",
}


@pytest.mark.parametrize("config", ["quickstart/icpc_tiny.yaml", "ade20k/semantic_fpn_R50.yaml"])
def test_command_line(config: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "cost.json"
    main(["--config-file", str(CONFIGS / config), "--shape", "64", "96", "--json", str(out), "MODEL.WEIGHTS", "none"])
    figures = json.loads(out.read_text())
    assert set(figures) == KEYS
    assert figures["without_text_gmacs"] + figures["text_encoder_gmacs"] == pytest.approx(figures["total_gmacs"])
    assert f"{figures['params_m']:.2f}" in capsys.readouterr().out


def test_curves_are_drawn(tmp_path: Path) -> None:
    out = tmp_path / "figures" / "cost.svg"
    by_classes, by_size = plot_cost_curves(TINY, (), out, num_classes=(5, 50), sizes=(64, 128))
    assert "classes K" in out.read_text()
    assert by_classes[0][1].image.total() < by_classes[1][1].image.total()
    assert by_size[0][1].image.total() < by_size[1][1].image.total()
