from pathlib import Path

from icpc_d2.analysis.random_models import build_random
from icpc_d2.engine.hooks.model_summary import groups_table, parameter_groups
from icpc_d2.engine.solver import build_optimizer
from tests.support.checkpoints import tiny_cfg


def test_the_log_begins_with_both_tables(run: Path) -> None:
    log = (run / "log.txt").read_text()
    assert log.index("Parameters and their highest learning rates") < log.index("Cost of the forward pass")
    assert "one image of 64 x 64 pixels" in log
    rows = {line.split("  ")[0]: line.split() for line in log.splitlines()}
    assert rows["image backbone"][-2] == "0.0015" and rows["all other parts"][-2] == "0.003"
    assert rows["frozen"][1].isdecimal() and float(rows["total"][1]) > 0.01


def test_groups_are_all_parameters() -> None:
    cfg = tiny_cfg("SOLVER.BACKBONE_MULTIPLIER", 0.1)
    model = build_random(cfg)
    groups = parameter_groups(model, build_optimizer(cfg, model))
    trained = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    assert (sum(group.tensors for group in groups), sum(group.numbers for group in groups)) == (
        len(trained),
        sum(trained),
    )
    assert {(group.parts, round(group.learning_rate, 6)) for group in groups} == {
        ("image backbone", 0.0003),
        ("all other parts", 0.003),
    }
    everything = sum(parameter.numel() for parameter in model.parameters())
    table = groups_table(model, groups)
    assert f"{everything - sum(trained):,}" in table.splitlines()[-1]
    same = tiny_cfg("SOLVER.BACKBONE_MULTIPLIER", 1.0)
    assert {group.parts for group in parameter_groups(model, build_optimizer(same, model))} == {"all parts"}
