"""configs/lazy: each is what the YAML of its name is, by the calls of Detectron2's tools/lazyconfig_train_net.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, LazyConfig, instantiate
from detectron2.engine import SimpleTrainer, default_argument_parser, default_setup, default_writers, defaults, hooks
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from omegaconf import DictConfig, ListConfig
from torch import nn

from icpc_d2.config import get_config_file, load_config
from icpc_d2.config.resolve import resolve_norms
from icpc_d2.data import SemSegDatasetMapper
from icpc_d2.data.scenes import dataset as scenes
from icpc_d2.engine.setup import resolve_classes
from icpc_d2.engine.solver import build_lr_scheduler, build_optimizer
from tests.support.configs import CONFIGS
from tests.support.models import TINY_VIT, make_batch

PAIRS = {
    "icpc_R50": "ade20k/icpc_R50.yaml",
    "icpc_R101": "ade20k/icpc_R101.yaml",
    "icpc_ViTB": "ade20k/icpc_ViTB.yaml",
    "icpc_tiny": "quickstart/icpc_tiny.yaml",
}
# The paper's recipe with the networks of the tests.
TINY_RESNET = (
    "model.backbone.architecture=tiny-RN",
    "model.prompt.embed_channels=128",
    "model.prompt.width=64",
    *(f"model.neck.shapes.res{2 + i}.channels={64 * 2**i}" for i in range(4)),
    "model.backbone.norm=BN",
    "model.sem_seg_head.norm=BN",
)
TINY_VIT_LAZY = (
    "model.backbone.architecture=tiny-ViT",
    "model.backbone.blocks=[0,1,2,3]",
    "model.backbone.norm=BN",
    "model.prompt.embed_channels=64",
    "model.prompt.width=64",
    *(f"model.neck.shapes.res{2 + i}.channels=64" for i in range(4)),
    "model.sem_seg_head.norm=BN",
)


def load(name: str, *overrides: str) -> DictConfig:
    args = default_argument_parser().parse_args(["--config-file", get_config_file(f"lazy/{name}.py"), *overrides])
    return LazyConfig.apply_overrides(LazyConfig.load(args.config_file), args.opts)


def load_yaml(name: str, *options: Any) -> CfgNode:
    cfg = load_config(get_config_file(PAIRS[name]), options)
    resolve_classes(cfg)
    return cfg


def settings(model: nn.Module) -> dict[tuple[str, str], Any]:
    """Each number, name, function and list that a module of the model holds."""
    found = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, list | tuple | ListConfig) and not any(isinstance(v, nn.Module) for v in value):
                value = list(value)
            elif not (isinstance(value, bool | int | float | str) or callable(value) or value is None):
                continue
            found[name, key] = value
    return found


def rates(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter that trains."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def attributes(augmentation: Any) -> tuple[type, dict[str, Any]]:
    augmentation = getattr(augmentation, "tfm", augmentation)  # what Detectron2 wraps transforms into
    values = {key: value for key, value in vars(augmentation).items() if not key.startswith("_")}
    # Sizes are tuples here and lists there.
    return type(augmentation), {key: list(v) if isinstance(v, tuple | ListConfig) else v for key, v in values.items()}


def test_there_is_one_for_each_of_these() -> None:
    assert {path.stem for path in (CONFIGS / "lazy").glob("*.py")} == set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_model_optimizer_schedule_and_data_are_those_of_the_yaml(name: str) -> None:
    random = ("SOLVER.BACKBONE_MULTIPLIER", 1.0) if name == "icpc_tiny" else ()
    lazy, cfg = load(name), load_yaml(name, "MODEL.DEVICE", "meta", *random)
    if name == "icpc_tiny":
        resolve_norms(cfg, num_processes=1)
    with torch.device("meta"):
        ours, theirs = instantiate(lazy.model), build_model(cfg)
    assert {n: v.shape for n, v in ours.state_dict().items()} == {n: v.shape for n, v in theirs.state_dict().items()}
    assert repr(ours) == repr(theirs)
    assert settings(ours) == settings(theirs)
    assert [list(lazy.model.pixel_mean), list(lazy.model.pixel_std)] == [cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD]

    lazy.optimizer.params.model = ours
    optimizer, their_optimizer = instantiate(lazy.optimizer), build_optimizer(cfg, theirs)
    assert type(optimizer) is type(their_optimizer)
    assert rates(optimizer, ours) == rates(their_optimizer, theirs)
    schedule, their_schedule = instantiate(lazy.lr_multiplier), build_lr_scheduler(cfg, their_optimizer)
    assert lazy.train.max_iter == cfg.SOLVER.MAX_ITER
    for iteration in (0, 7, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.MAX_ITER // 2, cfg.SOLVER.MAX_ITER - 1):
        their_schedule.last_epoch = iteration
        # Of the decoder; the image backbone, whose rate is lower, ends at the same rate in theirs alone.
        wanted = max(their_schedule.get_lr()) / max(group["initial_lr"] for group in their_optimizer.param_groups)
        assert schedule(iteration / lazy.train.max_iter) == pytest.approx(wanted, rel=1e-12)

    for split, is_train in (("train", True), ("test", False)):
        mapper, their_mapper = instantiate(lazy.dataloader[split].mapper), SemSegDatasetMapper(cfg, is_train)
        augmentations = [attributes(a) for a in mapper.augmentations.augs]
        assert augmentations == [attributes(a) for a in their_mapper.augmentations.augs]
        assert settings_of_mapper(mapper) == settings_of_mapper(their_mapper)
        names = cfg.DATASETS.TRAIN if is_train else cfg.DATASETS.TEST
        assert (lazy.dataloader[split].dataset.names,) == tuple(names)
    assert lazy.dataloader.train.total_batch_size == cfg.SOLVER.IMS_PER_BATCH
    assert lazy.train.checkpointer.period == cfg.SOLVER.CHECKPOINT_PERIOD
    assert lazy.train.eval_period == cfg.TEST.EVAL_PERIOD


def settings_of_mapper(mapper: SemSegDatasetMapper) -> dict[str, Any]:
    return {key: value for key, value in vars(mapper).items() if key != "augmentations"}


@pytest.mark.parametrize(
    ("name", "overrides", "options"),
    [
        ("icpc_R50", TINY_RESNET, ("MODEL.CLIP.ARCH", "tiny-RN", "MODEL.CLIP.RESNET_NORM", "BN")),
        ("icpc_ViTB", TINY_VIT_LAZY, (*TINY_VIT, "MODEL.CLIP.VIT_NORM", "BN")),
    ],
)
def test_outputs_and_losses_are_those_of_the_yaml(name: str, overrides: tuple[str], options: tuple[Any]) -> None:
    cfg = load_yaml(name, "MODEL.DEVICE", "cpu", "MODEL.SEM_SEG_HEAD.NORM", "BN", *options)
    theirs, ours = build_model(cfg), instantiate(load(name, *overrides).model)
    for (key, first), second in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        if first.numel() > 4000:  # they start from the same distributions
            torch.testing.assert_close(first.std(), second.std(), rtol=0.1, atol=0, msg=key)
    ours.load_state_dict(theirs.state_dict())
    batch = make_batch((64, 96), (64, 64), num_classes=150)
    found = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        losses = model.train()(batch)
        sum(losses.values()).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
        with torch.no_grad():
            logits = model.eval()([{"image": batch[0]["image"], "height": 50, "width": 71}])[0]["sem_seg"]
        assert logits.shape == (150, 50, 71)
        found.append([*losses.values(), *gradients, logits])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_it_trains_resumes_evaluates_and_is_written_as_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs_as_before: None
) -> None:
    monkeypatch.setattr(scenes, "SPLITS", {"train": 4, "val": 2})
    monkeypatch.setattr(defaults, "collect_env_info", lambda: "")
    overrides = (
        f"train.output_dir={tmp_path}",
        "train.max_iter=2",
        "dataloader.train.total_batch_size=2",
        "dataloader.train.num_workers=0",
        "dataloader.test.num_workers=0",
        "dataloader.train.mapper.augmentations.1.crop_size=[64,64]",
    )
    cfg = load("icpc_tiny", *overrides)
    default_setup(cfg, default_argument_parser().parse_args([]))
    assert train(cfg).iter == 2
    assert train(load("icpc_tiny", *overrides, "train.max_iter=3"), resume=True).start_iter == 2

    # What `default_setup` has written is a config again.
    written = LazyConfig.load(str(tmp_path / "config.yaml"))
    model = instantiate(written.model)
    DetectionCheckpointer(model).load(str(tmp_path / "model_final.pth"))
    results = evaluate(written, model.eval())
    assert results["sem_seg"].keys() >= {"mIoU", "IoU-sky"}
    assert 0 <= results["sem_seg"]["pACC"] <= 100


def train(cfg: DictConfig, resume: bool = False) -> SimpleTrainer:
    model = instantiate(cfg.model).to(cfg.train.device)
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
    trainer = SimpleTrainer(model, instantiate(cfg.dataloader.train), optimizer)
    checkpointer = DetectionCheckpointer(model, cfg.train.output_dir, optimizer=optimizer, trainer=trainer)
    trainer.register_hooks(
        [
            hooks.LRScheduler(scheduler=instantiate(cfg.lr_multiplier)),
            hooks.PeriodicCheckpointer(checkpointer, **cfg.train.checkpointer),
            hooks.EvalHook(cfg.train.eval_period, lambda: evaluate(cfg, model)),
            hooks.PeriodicWriter(default_writers(cfg.train.output_dir, cfg.train.max_iter), cfg.train.log_period),
        ]
    )
    checkpointer.resume_or_load(cfg.train.init_checkpoint, resume=resume)
    trainer.train(trainer.iter + 1 if resume else 0, cfg.train.max_iter)
    return trainer


def evaluate(cfg: DictConfig, model: nn.Module) -> dict[str, Any]:
    return inference_on_dataset(model, instantiate(cfg.dataloader.test), instantiate(cfg.dataloader.evaluator))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.sem_seg_head.num_classes=9", "class_tokens.names is for 10, sem_seg_head.num_classes for 9"),
        ("model.class_tokens.num_context=8", "class_tokens.num_context is for 8, prompt for 9"),
        ("model.alignment_loss.ignore_value=254", "alignment_loss.ignore_value is for 254, sem_seg_head"),
        ("model.alignment_loss.contrastive_loss.ignore_value=254", "contrastive_loss.ignore_value is for 254"),
    ],
)
def test_parts_that_disagree_are_refused(override: str, message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        instantiate(load("icpc_tiny", override).model)


def test_classes_follow_the_data_set() -> None:
    cfg = load("icpc_tiny", "dataloader.train.dataset.names=ade20k_full_sem_seg_train")
    with torch.device("meta"):
        model = instantiate(cfg.model)
    assert len(model.class_tokens) == model.sem_seg_head.num_classes == 847
    assert model.sem_seg_head.ignore_value == model.alignment_loss.contrastive_loss.ignore_value == 65535
    *_, pad = instantiate(cfg.dataloader.train.mapper).augmentations.augs
    assert attributes(pad)[1]["label"] == 65535
