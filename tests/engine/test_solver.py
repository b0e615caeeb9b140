import re
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from torch import nn

import icpc_d2  # noqa: F401  registers the models
from icpc_d2.config import add_icpc_config
from icpc_d2.config.resolve import resolve_norms
from icpc_d2.engine.ranges import check_ranges
from icpc_d2.engine.solver import (
    PolySchedule,
    build_lr_scheduler,
    build_optimizer,
    images_at_once,
    is_image_backbone,
    scale_to_processes,
)
from icpc_d2.engine.solver import logger as solver_logger

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
        poly = (1e-5 - end) * (1 - max(iteration, warm_up) / total) ** 0.9 + end
        expected = 0.1 * start + (poly - 0.1 * start) * iteration / warm_up if iteration < warm_up else poly
        assert backbone == pytest.approx(expected, rel=1e-6), iteration
    assert found[-1] == pytest.approx([end, end])


def test_a_power_of_zero_keeps_the_rates() -> None:
    cfg = make_cfg("", "SOLVER.POLY_POWER", 0.0, "SOLVER.WARMUP_ITERS", 0, "SOLVER.MAX_ITER", 3)
    check_ranges(cfg)
    assert rates(cfg) == [pytest.approx([1e-4, 1e-5])] * 4


# By mmcv's formulas for DenseCLIP's config. Its warm-up multiplies the decay: up to 1.7 % more in between.
RATES = {
    0: (1.0e-10, 1.0e-11),
    1_499: (9.826336e-5, 9.841518e-6),
    1_500: (9.832780e-5, 9.847982e-6),
    40_000: (5.405279e-5, 5.822981e-6),
    79_999: (1.003827e-6, 1.000348e-6),
}


@pytest.mark.parametrize("config", ["icpc_R50", "denseclip_R101", "icpc_ViTB", "semantic_fpn_R50"])
def test_rates_of_the_papers_rows(config: str) -> None:
    cfg = make_cfg(f"ade20k/{config}.yaml")
    model = nn.ModuleDict({"head": nn.Linear(1, 1), "backbone": nn.Linear(1, 1)})
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    found = {}
    for scheduler.last_epoch in RATES:
        found[scheduler.last_epoch] = tuple(sorted(scheduler.get_lr(), reverse=True))
    for iteration, wanted in RATES.items():
        assert found[iteration] == pytest.approx(wanted, rel=2e-5), iteration


@pytest.mark.parametrize("multiplier", [0.0, 1e-3])
def test_a_rate_below_the_end_of_the_decay_never_rises(multiplier: float) -> None:
    """A rate of 0 stays 0; in DenseCLIP the text encoder's rose to 1e-6."""
    found = rates(
        make_cfg("", "SOLVER.MAX_ITER", 20, "SOLVER.WARMUP_ITERS", 5, "SOLVER.BACKBONE_MULTIPLIER", multiplier)
    )
    assert max(backbone for _, backbone in found) == pytest.approx(1e-4 * multiplier)
    assert found[-1] == pytest.approx([1e-6, 1e-4 * multiplier])


def test_the_state_of_the_schedule_is_detectron2s() -> None:
    """So that trainings of an earlier release go on."""
    cfg = make_cfg("", "SOLVER.MAX_ITER", 100)
    optimizer = build_optimizer(cfg, nn.ModuleDict({"head": nn.Linear(1, 1), "backbone": nn.Linear(1, 1)}))
    scheduler = build_lr_scheduler(cfg, optimizer)
    assert scheduler.state_dict().keys() == {"base_lrs", "last_epoch"}
    scheduler.load_state_dict({"base_lrs": scheduler.base_lrs, "last_epoch": 50})
    assert sorted(scheduler.get_lr(), reverse=True) == rates(cfg)[50]


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


def test_fewer_processes_than_the_reference_train_longer_at_a_lower_rate(caplog: pytest.LogCaptureFixture) -> None:
    cfg = make_cfg("ade20k/icpc_R50.yaml", "SOLVER.REFERENCE_WORLD_SIZE", 8)
    cfg.freeze()
    solver_logger.addHandler(caplog.handler)  # Detectron2's loggers do not pass on what they get
    try:
        scaled = scale_to_processes(cfg, 2)
    finally:
        solver_logger.removeHandler(caplog.handler)
    solver = scaled.SOLVER
    assert (solver.IMS_PER_BATCH, solver.MAX_ITER, solver.WARMUP_ITERS) == (8, 320000, 6000)
    assert pytest.approx(2.5e-5) == solver.BASE_LR
    assert pytest.approx(2.5e-7) == solver.POLY_END_LR
    assert images_at_once(scaled, 2) == images_at_once(cfg, 8) == 4
    changes = {"IMS_PER_BATCH": (32, 8), "BASE_LR": (0.0001, 2.5e-05), "TEST.EVAL_PERIOD": (8000, 32000)}
    for key, (old, new) in changes.items():
        assert re.search(rf"{key}\W+{old}\W+{new}\b", caplog.text), key
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.is_frozen(), scaled.is_frozen()) == (32, True, True)


def test_the_reference_itself_and_no_reference_change_nothing() -> None:
    cfg = make_cfg("", "SOLVER.REFERENCE_WORLD_SIZE", 4)
    assert scale_to_processes(cfg, 4) is cfg
    cfg.SOLVER.REFERENCE_WORLD_SIZE = 0
    assert scale_to_processes(cfg, 3) is cfg


def test_a_reference_that_does_not_divide_the_batch_is_refused() -> None:
    cfg = make_cfg("", "SOLVER.REFERENCE_WORLD_SIZE", 3, "SOLVER.IMS_PER_BATCH", 16)
    with pytest.raises(ValueError, match=r"IMS_PER_BATCH is 16; wanted a multiple of SOLVER\.REFERENCE_WORLD_SIZE"):
        scale_to_processes(cfg, 2)


@pytest.mark.parametrize("num_gpus", [8, 4, 1])
def test_recipes_take_the_batch_of_the_paper_four_images_at_a_time(num_gpus: int) -> None:
    paper, recipe = make_cfg("ade20k/icpc_R50.yaml"), make_cfg(f"ade20k/recipes/icpc_R50_gpus_{num_gpus}.yaml")
    assert images_at_once(recipe, num_gpus) == 4
    assert recipe.SOLVER.IMS_PER_BATCH == 32
    for key in ("OUTPUT_DIR", "MODEL.CHANNELS_LAST", "SOLVER.ACCUMULATE", "SOLVER.AMP"):
        *section, name = key.rsplit(".", 1)
        of_paper, of_recipe = (attrgetter(*section)(cfg) if section else cfg for cfg in (paper, recipe))
        of_recipe[name] = of_paper[name]
    assert recipe == paper
