"""The training of CLIP itself: the trainer of all trainings here, with other data, another loss and other figures."""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.solver import get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils import comm
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from icpc_d2.checkpoint import ICPCCheckpointer
from icpc_d2.checkpoint.key_maps import CLIP_UNUSED, check_activation, fit_weights
from icpc_d2.data.captioned_pictures import CaptionedPictures, PaintedScenes, stack_pictures
from icpc_d2.data.class_list import read_class_list
from icpc_d2.data.loader import NumberedSampler, build_sampler, build_train_loader
from icpc_d2.data.scenes.archive import DrawnScenes, SceneRecord, archived, as_it_is
from icpc_d2.data.scenes.captioned import SYNONYMS
from icpc_d2.engine import Trainer
from icpc_d2.engine.parallel import share_buffers
from icpc_d2.engine.run_folder.provenance import describe_run
from icpc_d2.engine.solver import images_at_once
from icpc_d2.engine.train_step import TrainStep
from icpc_d2.evaluation import write_results
from icpc_d2.evaluation.zero_shot import evaluate_zero_shot
from icpc_d2.modeling.contrastive_clip import TILES

logger = logging.getLogger(__name__)

SCALE = "logit_scale"


class ContrastiveStep(TrainStep):
    """One step of the optimizer, whose loss is the same in all processes: that of the whole batch."""

    def pixel_weights(self) -> Tensor:
        """Return the weight 1: no pixel has a label here."""
        return torch.ones(1, device=self.device)


class CLIPCheckpointer(ICPCCheckpointer):
    """Loads CLIP by open_clip's names, with its temperature, into a model that is CLIP itself."""

    def _load_model(self, checkpoint: dict[str, Any]) -> None:
        found = checkpoint.pop("model")
        weights = {name: value for name, value in found.items() if name == SCALE or name not in CLIP_UNUSED}
        check_activation(self.model, checkpoint.get("quick_gelu"))
        self.model.load_state_dict(fit_weights(weights, self.model.state_dict()), strict=False)


class PretrainTrainer(Trainer):
    """Train CLIP by a config of configs/pretrain/; evaluates what it knows of held-out scenes as it goes."""

    checkpointer_type = CLIPCheckpointer

    @staticmethod
    def build_step(
        cfg: CfgNode, model: nn.Module, loader: Iterable[list[dict]], optimizer: torch.optim.Optimizer
    ) -> ContrastiveStep:
        """Build the step of ``SOLVER.AMP``."""
        precision = getattr(torch, cfg.SOLVER.AMP.PRECISION) if cfg.SOLVER.AMP.ENABLED else None
        return ContrastiveStep(model, loader, optimizer, precision=precision)

    @staticmethod
    def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """Build CLIP's AdamW. The temperature does not decay."""
        keys = cfg.SOLVER
        params = get_default_optimizer_params(
            model,
            base_lr=keys.BASE_LR,
            weight_decay=keys.WEIGHT_DECAY,
            weight_decay_norm=keys.WEIGHT_DECAY_NORM,
            weight_decay_bias=keys.WEIGHT_DECAY_BIAS,
            overrides={SCALE: {"weight_decay": 0.0}},
        )
        return maybe_add_gradient_clipping(cfg, torch.optim.AdamW)(params, lr=keys.BASE_LR, betas=(0.9, 0.98))

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> DataLoader:
        """Build endless batches of ``SOLVER.IMS_PER_BATCH / processes`` pictures with captions."""
        keys, rank, size = cfg.PRETRAIN, comm.get_rank(), comm.get_world_size()
        scenes = build_scenes(cfg, "train")
        pictures = CaptionedPictures(scenes, keys.SIZE, keys.MIN_CROP, keys.MAX_SENTENCES, cfg.SEED)
        painted = PaintedScenes(build_sampler("TrainingSampler", keys.NUM_SCENES, cfg.SEED), keys.PAINTS)
        sampler = NumberedSampler(painted, rank, size)
        batch_size = images_at_once(cfg, size)
        if batch_size % keys.PAINTS:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH is {cfg.SOLVER.IMS_PER_BATCH}; wanted a multiple of PRETRAIN.PAINTS, which is "
                f"{keys.PAINTS}, for each of {size} processes: a batch has all paints of its scenes."
            )
        if batch_size * keys.CLOSE_UPS % TILES**2:
            raise ValueError(
                f"PRETRAIN.CLOSE_UPS is {keys.CLOSE_UPS} and SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH}; wanted "
                f"is a product that {TILES**2} divides, for each of {size} processes: so many close-ups make a mosaic."
            )
        return build_train_loader(pictures, sampler, batch_size, cfg.DATALOADER.NUM_WORKERS, stack_pictures)

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, evaluators: Sequence[DatasetEvaluator] | None = None
    ) -> OrderedDict[str, dict]:
        """Evaluate in the main process, write ``results.json``, and log the figures; {} in the other processes."""
        share_buffers(model)
        if not comm.is_main_process() or not cfg.PRETRAIN.NUM_VAL_SCENES:
            return OrderedDict()
        inner = model.module if isinstance(model, DistributedDataParallel) else model
        figures = evaluate_zero_shot(inner, cls.val_scenes(cfg), SYNONYMS, read_class_list("scenes_10").prompt_names)
        path = write_results({"scenes": {"zero_shot": figures}}, cfg.OUTPUT_DIR, describe_run(cfg))
        logger.info(f"Figures in percent, also in {path}:\n{format_zero_shot(figures)}")
        return OrderedDict(zero_shot=figures)

    @classmethod
    def val_scenes(cls, cfg: CfgNode) -> Sequence[SceneRecord]:
        """Return the scenes of the evaluations, drawn at the first one."""
        scenes = build_scenes(cfg, "val")
        return _all_drawn(scenes, cfg.DATALOADER.NUM_WORKERS) if isinstance(scenes, DrawnScenes) else scenes


@lru_cache(maxsize=1)
def _all_drawn(scenes: DrawnScenes, num_workers: int) -> list[SceneRecord]:
    generator = torch.Generator()  # seeds the workers
    return list(DataLoader(scenes, None, num_workers=num_workers, collate_fn=as_it_is, generator=generator))


def build_scenes(cfg: CfgNode, split: str) -> Sequence[SceneRecord]:
    """Return the scenes of a split, "train" or "val": those of ``PRETRAIN.CACHE``, or drawn when they are asked for.

    The main process draws into the cache, the others wait.
    """
    keys = cfg.PRETRAIN
    if split == "train":
        scenes = DrawnScenes(split, keys.NUM_SCENES, tuple(keys.STYLES), keys.PAINTS, keys.CLOSE_UPS)
    else:
        scenes = DrawnScenes(split, keys.NUM_VAL_SCENES, tuple(keys.STYLES))
    if not keys.CACHE:
        return scenes
    root, num_workers = Path(keys.CACHE), cfg.DATALOADER.NUM_WORKERS
    if split == "val":  # the main process alone evaluates
        return archived(scenes, root, num_workers)
    if comm.is_main_process():
        archived(scenes, root, num_workers)
    comm.synchronize()
    return archived(scenes, root, 0)


def format_zero_shot(figures: dict[str, float]) -> str:
    """Format the figures, those of single kinds and classes in a table of their own."""
    single = ("AP-", "IoU-")
    lines = "  ".join(f"{name} {value:.1f}" for name, value in figures.items() if not name.startswith(single))
    names = dict.fromkeys(name.partition("-")[2] for name in figures if name.startswith(single))
    rows = [
        [name, *(f"{figures[kind + name]:.1f}" if kind + name in figures else "" for kind in single)] for name in names
    ]
    return (
        f"{lines}\n{tabulate(rows, ['kind', 'AP', 'IoU'], colalign=('left', 'right', 'right'), disable_numparse=True)}"
    )
