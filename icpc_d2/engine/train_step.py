"""One step of the optimizer over a batch in parts: those of several processes, one after another in each.

The gradient is that of the whole batch in one forward pass, but for unsynchronized BatchNorm, which sees the parts,
dropout, and the contrastive loss unless it is gathered.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from icpc_d2.modeling.class_weights import get_class_weights
from icpc_d2.modeling.labels import is_labelled
from icpc_d2.modeling.losses import Candidates, GatheredContrastiveLoss

# Losses that are means over labelled pixels, of ICPC and of Detectron2's SemanticSegmentor.
PIXEL_MEANS = ("loss_sem_seg", "loss_align")


def build_step(
    cfg: CfgNode, model: nn.Module, loader: Iterable[list[dict]], optimizer: torch.optim.Optimizer
) -> "TrainStep":
    """Build the step of ``SOLVER.ACCUMULATE`` and ``SOLVER.AMP``, over lists of samples for each forward pass."""
    precision = getattr(torch, cfg.SOLVER.AMP.PRECISION) if cfg.SOLVER.AMP.ENABLED else None
    ignore_value = cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
    weights = get_class_weights(cfg)
    return TrainStep(model, loader, optimizer, cfg.SOLVER.ACCUMULATE, precision, ignore_value, weights)


class TrainStep(SimpleTrainer):
    """Detectron2's trainer of one iteration, with gradient accumulation and mixed precision on any device.

    Attributes:
        model: returns losses by name; maybe wrapped for several processes.
        accumulate: forward passes a step.
        precision: torch.float16 (losses are scaled) or torch.bfloat16 of autocast; None: the model's own.
        ignore_value: label of pixels that have no class.
        class_weights: (K,) of the pixel losses, on the CPU; None: all pixels count alike.
        batches: of this process in this iteration, a list of samples for each forward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list[dict[str, Any]]],
        optimizer: torch.optim.Optimizer,
        accumulate: int = 1,
        precision: torch.dtype | None = None,
        ignore_value: int = 255,
        class_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(model=model, data_loader=data_loader, optimizer=optimizer)
        self.accumulate, self.precision, self.ignore_value = accumulate, precision, ignore_value
        self.class_weights = torch.tensor(class_weights) if class_weights else None
        self.batches: list[list[dict[str, Any]]] = []
        self.device = next(model.parameters()).device
        self.grad_scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        self._autocast = torch.autocast(self.device.type, precision, enabled=precision is not None)
        self._inner = model.module if isinstance(model, DistributedDataParallel) else model
        loss = getattr(getattr(self._inner, "alignment_loss", None), "contrastive_loss", None)
        self._gathered_loss = loss if isinstance(loss, GatheredContrastiveLoss) else None

    def run_step(self) -> None:
        """Run forward and backward passes over the next `accumulate` batches of the loader, then the optimizer."""
        start = time.perf_counter()
        self.batches = [next(self._data_loader_iter) for _ in range(self.accumulate)]
        data_time = time.perf_counter() - start
        self.optimizer.zero_grad()
        try:
            losses = self.backward()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise _batch_norm_error(self.batches[0]) from error
        # Before the hooks, and an optimizer that clips, which want the gradient itself.
        self.grad_scaler.unscale_(self.optimizer)
        self.after_backward()
        # In one piece: each value by itself would be a wait for the device.
        values = torch.stack(list(losses.values())).cpu()
        self._write_metrics(dict(zip(losses, values, strict=True)), data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def backward(self) -> dict[str, Tensor]:
        """Add the gradients of all `batches`; return losses whose mean over processes is that of the whole batch."""
        weights = self.pixel_weights()
        if self.accumulate > 1 and self._gathered_loss is not None:
            return self._backward_of_gathered(weights)
        return _mean([self._backward(index, weights[index]) for index in range(self.accumulate)])

    def pixel_weights(self) -> Tensor:
        """Return the weights (accumulate,) that make the mean of the parts' means the mean over all labelled pixels.

        Where classes have weights, so have the pixels, in the means of the parts and of all.
        """
        num_parts = self.accumulate * comm.get_world_size()
        if num_parts == 1:
            return torch.ones(1, device=self.device)
        numbers = [sum(self._weigh(sample["sem_seg"]) for sample in batch) for batch in self.batches]
        counts = torch.tensor(numbers, device=self.device)
        total = counts.sum()
        if comm.get_world_size() > 1:
            torch.distributed.all_reduce(total)
        return (counts * num_parts / total.where(total > 0, 1)).float()

    def _weigh(self, labels: Tensor) -> int | float:
        """Return how much the labelled pixels of an image (H, W) count together."""
        labelled = is_labelled(labels, self.ignore_value)
        if self.class_weights is None:
            return int(labelled.sum())
        counts = labels[labelled].cpu().bincount(minlength=len(self.class_weights))
        return float(counts.double() @ self.class_weights.double())

    def state_dict(self) -> dict[str, Any]:
        """Return Detectron2's state, with the scale of the losses in float16."""
        scale = {"grad_scaler": self.grad_scaler.state_dict()} if self.grad_scaler.is_enabled() else {}
        return super().state_dict() | scale

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a :meth:`state_dict`, also that of a training in another precision."""
        super().load_state_dict(state_dict)
        if self.grad_scaler.is_enabled() and state_dict.get("grad_scaler"):
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])

    def _backward_of_gathered(self, weights: Tensor) -> dict[str, Tensor]:
        """Add the gradients where the contrastive loss of each forward pass needs the points of all others.

        A first pass without gradients finds the candidates; random numbers are the same in both passes.
        """
        seeds = torch.randint(2**31, (self.accumulate,)).tolist()
        candidates = []
        with buffers_kept(self._inner):
            for seed, batch in zip(seeds, self.batches, strict=True):
                with self._random(seed), self._autocast:
                    candidates.append(self._candidates(batch))
        losses = []
        for index, seed in enumerate(seeds):
            with self._random(seed):
                others = [*candidates[:index], *candidates[index + 1 :]]
                losses.append(self._backward(index, weights[index], others))
        return _mean(losses)

    @torch.no_grad()
    def _candidates(self, batch: list[dict[str, Any]]) -> list[Candidates]:
        """Find the points that a gathered contrastive loss may draw, for each of the score maps that it supervises."""
        model, loss = self._inner, self._gathered_loss
        _, scores = model.encode(model.preprocess_image(batch).tensor)
        labels, seeds = model.preprocess_labels(batch), _seeds(batch)
        return [loss.candidates(scores[level], labels, seeds) for level in model.alignment_loss.levels]

    def _backward(self, index: int, pixel_weight: Tensor, others: Sequence[list[Candidates]] = ()) -> dict[str, Tensor]:
        """Add the gradient of one batch, given the `others`' candidates; processes exchange theirs at the last one."""
        batch, gathered = self.batches[index], self._gathered_loss
        joined = nullcontext() if gathered is None else gathered.joined_with(_seeds(batch), others)
        wait = isinstance(self.model, DistributedDataParallel) and index + 1 < self.accumulate
        with self.model.no_sync() if wait else nullcontext():
            with self._autocast, joined:
                losses = self.model(batch)
            losses = {name: loss * pixel_weight if name in PIXEL_MEANS else loss for name, loss in losses.items()}
            self.grad_scaler.scale(sum(losses.values()) / self.accumulate).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    @contextmanager
    def _random(self, seed: int) -> Iterator[None]:
        """Run the block under its own seed, then restore the RNG state."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield


def _seeds(batch: list[dict[str, Any]]) -> list[int | None]:
    """Return the samples' seeds, by which their points are drawn; None for a sample without one."""
    return [sample.get("seed") for sample in batch]


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Restore a model's buffers after the block, such as BatchNorm's running statistics."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def _mean(losses: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name] for part in losses]).mean() for name in losses[0]}


def _batch_norm_error(batch: Sequence[dict[str, Any]]) -> ValueError:
    """Say what to do where BatchNorm has a single value per channel."""
    height, width = batch[0]["image"].shape[1:]
    return ValueError(
        f"BatchNorm needs more than one value per channel, and {len(batch)} image of {height} x {width} pixels has a "
        "single one where the image encoder is coarsest: have more images in a forward pass (SOLVER.IMS_PER_BATCH, "
        "divided by the processes and SOLVER.ACCUMULATE), or a larger INPUT.CROP.SIZE."
    )
