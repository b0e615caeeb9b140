"""The training loop: Detectron2's, with our data, recipe, evaluation and checkpoints."""

import logging
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from icpc_d2.checkpoint import ICPCCheckpointer, load_text_encoder
from icpc_d2.data.dataset_mapper import SemSegDatasetMapper, named_dicts
from icpc_d2.data.loader import NumberedSampler, TrainingSamples, build_sampler, build_train_loader
from icpc_d2.engine.class_balance import build_repeat_factors
from icpc_d2.engine.hooks.non_finite import StepSkippedError
from icpc_d2.engine.hooks.stopping import Batches, StopOnSignal
from icpc_d2.engine.hooks.training_hooks import build_hooks, build_step_hooks
from icpc_d2.engine.parallel import distribute, prepare, share_buffers
from icpc_d2.engine.run_folder.output_folder import OutputFolder
from icpc_d2.engine.run_folder.provenance import describe_run
from icpc_d2.engine.solver import build_lr_scheduler, build_optimizer, images_at_once, scale_to_processes
from icpc_d2.engine.solver_settings import settings_kept
from icpc_d2.engine.train_step import build_step
from icpc_d2.evaluation import build_evaluator, results_table, write_results
from icpc_d2.evaluation.label_maps import as_evaluated

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """Train by a config: ``Trainer(cfg)``, ``resume_or_load``, ``train``. Evaluates as it goes and at the end.

    The output folder gets ``metrics.json``, TensorBoard's events, checkpoints, ``model_final.pth``,
    ``model_best.pth`` (weights alone, best by ``SOLVER.BEST_METRIC``) and ``results.json``.
    """

    build_optimizer = staticmethod(build_optimizer)
    build_lr_scheduler = staticmethod(build_lr_scheduler)
    build_evaluator = staticmethod(build_evaluator)
    build_step = staticmethod(build_step)
    checkpointer_type = ICPCCheckpointer

    def __init__(self, cfg: CfgNode) -> None:
        # DefaultTrainer's constructor cannot build a distributed model on the CPU, nor use another checkpointer.
        TrainerBase.__init__(self)
        cfg = scale_to_processes(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        self._check_evaluation(cfg, model)
        optimizer = self.build_optimizer(cfg, model)
        self._stop = StopOnSignal()
        loader = Batches(self.build_train_loader(cfg), self._stop)
        self._trainer = self.build_step(cfg, distribute(model), loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = self.checkpointer_type(
            model,
            cfg.OUTPUT_DIR,
            class_names=cfg.MODEL.CLASS_NAMES,
            new_classes=cfg.MODEL.NEW_CLASSES,
            trainer=weakref.proxy(self),
        )
        self.cfg, self.start_iter, self.max_iter = cfg, 0, cfg.SOLVER.MAX_ITER
        self._trainer.register_hooks(build_step_hooks(cfg, self.model))
        self.register_hooks(self.build_hooks())

    def _check_evaluation(self, cfg: CfgNode, model: nn.Module) -> None:
        """Raise now what the first evaluation would raise, maybe after the last iteration."""
        if cfg.DATASETS.TEST:
            as_evaluated(cfg, model)
        for name in cfg.DATASETS.TEST:
            self.build_evaluator(cfg, name)

    def build_hooks(self) -> list[HookBase | None]:
        """Build the hooks of the training, see :func:`icpc_d2.engine.hooks.training_hooks.build_hooks`."""
        return build_hooks(self.cfg, self, super().build_hooks(), self._stop)

    def resume_or_load(self, resume: bool = True) -> None:
        """Load weights as Detectron2 does, the text encoder's own ones first; data continue where they were.

        A new training raises a FileExistsError where it would write over the checkpoints of another.
        """
        if not resume:
            OutputFolder(Path(self.cfg.OUTPUT_DIR)).refuse_earlier_training()
        if not (resume and self.checkpointer.has_checkpoint()):
            load_text_encoder(self.checkpointer.model, self.cfg.MODEL.TEXT_ENCODER.WEIGHTS)
        with settings_kept(self._trainer.optimizer, self.scheduler):
            super().resume_or_load(resume)
        self._trainer.data_loader.skip(self.start_iter * self.cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size())

    def train(self) -> OrderedDict[str, dict] | None:
        """Train, and return the results of the last evaluation as :meth:`test` does; None without one."""
        super().train()
        return getattr(self, "_last_eval_results", None)

    def run_step(self) -> None:
        """Run one iteration as Detectron2 does, but for gradients that must not be used."""
        try:
            super().run_step()
        except StepSkippedError:
            self._trainer.grad_scaler.update()

    def after_train(self) -> None:
        """End the training as Detectron2 does."""
        # It counts one iteration too many where the resumed run was at its end already.
        self.iter = min(self.iter, self.max_iter)
        super().after_train()

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Build the model, made ready by :func:`icpc_d2.engine.parallel.prepare`."""
        return prepare(cfg, super().build_model(cfg))

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[list[dict]]:
        """Build endless batches of ``SOLVER.IMS_PER_BATCH / processes / ACCUMULATE`` training samples of our mapper."""
        dicts = named_dicts(cfg.DATASETS.TRAIN)
        seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
        samples = TrainingSamples(dicts, SemSegDatasetMapper(cfg, True), seed, cfg.INPUT.ON_BAD_FILE)
        share = cfg.DATALOADER.get("RANDOM_SUBSET_RATIO", 1.0)
        factors = build_repeat_factors(cfg, dicts)
        sampler = build_sampler(cfg.DATALOADER.SAMPLER_TRAIN, len(dicts), seed, share, factors)
        sampler = NumberedSampler(sampler, comm.get_rank(), comm.get_world_size())
        batch_size = images_at_once(cfg, comm.get_world_size())
        return build_train_loader(samples, sampler, batch_size, cfg.DATALOADER.NUM_WORKERS)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[list[dict]]:
        """Build batches of one sample, each of the data set once, divided among the processes."""
        return build_detection_test_loader(cfg, dataset_name, mapper=SemSegDatasetMapper(cfg, False))

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, evaluators: list[DatasetEvaluator] | None = None
    ) -> OrderedDict[str, dict]:
        """Evaluate on each of ``DATASETS.TEST``; write ``results.json`` and log a table.

        Return Detectron2's results, in percent: ``{"sem_seg": {...}}``, or one such per data set if there are several;
        empty in all processes but the main one.
        """
        share_buffers(model)
        inner = model.module if isinstance(model, DistributedDataParallel) else model
        results = super().test(cfg, as_evaluated(cfg, inner), evaluators)
        if comm.is_main_process() and results:
            path = write_results(results, cfg.OUTPUT_DIR, describe_run(cfg))
            logger.info(f"Results, also in {path}:\n{results_table(results)}")
        return results
