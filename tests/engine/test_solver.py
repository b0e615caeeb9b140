from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from torch import nn

import icpc_d2  # noqa: F401  registers the models
from icpc_d2.config import add_icpc_config
from icpc_d2.engine.config import resolve_norms
from icpc_d2.engine.solver import PolySchedule, build_lr_scheduler, build_optimizer, is_image_backbone

CONFIGS = Path(__file__).parents[2] / "configs"
NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def make_cfg(config: str = "", *overrides: object) -> CfgNode:
    cfg = get_cfg()
    add_icpc_config(cfg)
    if config:
        cfg.merge_from_file(str(CONFIGS / config))
    recipe = ["SOLVER.BASE_LR", 1e-4, "SOLVER.BACKBONE_MULTIPLIER", 0.1, "SOLVER.WEIGHT_DECAY", 1e-4]
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *recipe, *overrides])
    resolve_norms(cfg, 1)
    return cfg


@pytest.mark.parametrize("backbone", ["resnet", "vit"])
def test_every_parameter_gets_its_rate_and_decay(backbone: str) -> None:
    names = ["MODEL.CLASS_NAMES", ["sky", "sea"], "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2]
    cfg = make_cfg("camvid/icpc_tiny.yaml", *names, "MODEL.BACKBONE.NAME", f"build_clip_{backbone}_backbone")
    if backbone == "vit":
        cfg.merge_from_list(["MODEL.CLIP.ARCH", "tiny-ViT", "MODEL.CLIP.VIT_BLOCKS", [0, 1, 2, 3]])
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.AdamW)
    found = {id(value): group for group in optimizer.param_groups for value in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(found)
    seen = {"encoder": 0, "frozen": 0, "norm": 0, "other": 0}
    for module_name, module in model.named_modules():
        for name, value in module.named_parameters(module_name, recurse=False):
            if name.startswith("text_encoder."):
                assert id(value) not in found
                seen["frozen"] += 1
                continue
            group = found[id(value)]
            in_encoder = name.startswith("backbone.")
            assert group["lr"] == pytest.approx(1e-5 if in_encoder else 1e-4), name
            assert group["weight_decay"] == (0 if isinstance(module, NORMS) else 1e-4), name
            seen["norm" if isinstance(module, NORMS) else "encoder" if in_encoder else "other"] += 1
    assert all(seen.values()), seen


def test_detectron2s_fpn_is_not_the_backbone() -> None:
    assert is_image_backbone("backbone.bottom_up.visual.conv1.weight")
    assert is_image_backbone("backbone.visual.attnpool.c_proj.bias")
    assert not is_image_backbone("backbone.fpn_lateral3.weight")
    assert not is_image_backbone("sem_seg_head.backbone.weight")


def test_other_optimizers() -> None:
    model = nn.Linear(2, 2)
    sgd = build_optimizer(make_cfg("", "SOLVER.OPTIMIZER", "SGD", "SOLVER.MOMENTUM", 0.8), model)
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.param_groups[0]["momentum"] == 0.8
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER is 'Lion'; it can be 'AdamW' or 'SGD'"):
        build_optimizer(make_cfg("", "SOLVER.OPTIMIZER", "Lion"), model)


def test_gradients_are_clipped_if_asked_for() -> None:
    model = nn.Linear(1, 1, bias=False)
    clip = ["SOLVER.CLIP_GRADIENTS.ENABLED", True, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5]
    optimizer = build_optimizer(make_cfg("", *clip, "SOLVER.OPTIMIZER", "SGD", "SOLVER.MOMENTUM", 0.0), model)
    optimizer.param_groups[0].update(lr=1.0, weight_decay=0.0)
    before = model.weight.item()
    model.weight.grad = torch.full((1, 1), 100.0)
    optimizer.step()
    assert model.weight.item() == pytest.approx(before - 0.5)


def rates(cfg: CfgNode) -> list[list[float]]:
    """The rates of a head and of a backbone, iteration by iteration."""
    model = nn.ModuleDict({"head": nn.Linear(1, 1), "backbone": nn.Linear(1, 1)})
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    found = [sorted((group["lr"] for group in optimizer.param_groups), reverse=True)]
    for _ in range(cfg.SOLVER.MAX_ITER):
        optimizer.step()
        scheduler.step()
        found.append(sorted((group["lr"] for group in optimizer.param_groups), reverse=True))
    return found


def test_poly_after_a_linear_warm_up() -> None:
    warm_up, total, end = 10, 100, 1e-6
    schedule = ["SOLVER.MAX_ITER", total, "SOLVER.WARMUP_ITERS", warm_up, "SOLVER.WARMUP_FACTOR", 1e-6]
    found = rates(make_cfg("", *schedule))
    for iteration, (head, backbone) in enumerate(found):
        poly = (1e-4 - end) * (1 - max(iteration, warm_up) / total) ** 0.9 + end
        start = 1e-6 * 1e-4
        expected = start + (poly - start) * iteration / warm_up if iteration < warm_up else poly
        assert head == pytest.approx(expected, rel=1e-6), iteration
        assert backbone == pytest.approx(0.1 * head)
    assert found[-1][0] == pytest.approx(end)


def test_a_run_shorter_than_its_warm_up() -> None:
    found = rates(make_cfg("", "SOLVER.MAX_ITER", 2, "SOLVER.WARMUP_ITERS", 1500))
    assert all(0 < head <= 1e-4 for head, _ in found)


def test_detectron2s_schedules_still_work() -> None:
    steps = ["SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.MAX_ITER", 10, "SOLVER.STEPS", (5,)]
    found = rates(make_cfg("", *steps, "SOLVER.WARMUP_ITERS", 0))
    assert found[4][0] == pytest.approx(1e-4)
    assert found[5][0] == pytest.approx(1e-5)


def test_the_schedule_stays_at_its_end() -> None:
    assert PolySchedule(0.9, 0.01)(1.5) == PolySchedule(0.9, 0.01)(1.0) == pytest.approx(0.01)
