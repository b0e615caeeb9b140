"""Operators and read-backs of a training step and of an inference, by part: `icpc benchmark kernels`."""

import itertools
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from unittest.mock import patch

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from tabulate import tabulate
from torch import Tensor, nn

from icpc_d2.analysis.operators import OperatorCounter
from icpc_d2.analysis.random_models import build_random, random_batch
from icpc_d2.engine.hooks.training_hooks import build_step_hooks
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.engine.train_step import build_step
from icpc_d2.modeling import ICPC, build
from icpc_d2.modeling.fast.form_choice import MACS_PER_OPERATOR
from icpc_d2.modeling.fast.strip_loss import STRIP_BYTES


def count_kernels(cfg: CfgNode, args: Namespace) -> dict[str, int]:
    """Count for a batch of `args.batch` images of `args.size` pixels, with the strips and forms of `args.as_device`.

    Returns:
        Operators of the "forward" and "backward" pass of a training, of the "inference" of one image after others; of
        each part of ICPC, as "text_forward" and "text_backward"; and "read_backs" of a step with its optimizer.
    """
    with (
        patch.dict(STRIP_BYTES, cpu=STRIP_BYTES[args.as_device]),
        patch.dict(MACS_PER_OPERATOR, cpu=MACS_PER_OPERATOR[args.as_device]),
    ):
        model = build_random(cfg)
        batch = random_batch(len(build.get_class_names(cfg)), args.batch, args.size)
        counts = _count_inference(model, batch[:1])
        model.train()
        counts |= _count_pass(
            "", lambda: list(model(batch).values()), [p for p in model.parameters() if p.requires_grad]
        )
        if isinstance(model, ICPC):
            for name, compute, inputs in _parts(model, batch):
                counts |= _count_pass(f"{name}_", compute, inputs)
        return counts | {"read_backs": _count_read_backs(cfg, model, batch)}


def format_counts(counts: dict[str, int]) -> str:
    """Format the counts as a table, a row for each part."""
    names = dict.fromkeys(key.rpartition("_")[0] for key in counts if key.endswith(("forward", "backward")))
    rows = [[name, *(counts[f"{name}_{way}".lstrip("_")] for way in ("forward", "backward"))] for name in names]
    rows.sort(key=lambda row: row[0] == "")
    table = tabulate([[name or "all", *row] for name, *row in rows], ["operators", "forward", "backward"])
    return f"{table}\n\ninference of one image: {counts['inference']}\nread-backs of a step: {counts['read_backs']}"


def _count_inference(model: nn.Module, inputs: list[dict]) -> dict[str, int]:
    with torch.no_grad():
        model(inputs)  # what images share is kept from then on
        with OperatorCounter() as counter:
            model(inputs)
    return {"inference": counter.operators.total()}


def _count_pass(prefix: str, compute: Callable[[], Sequence[Tensor]], inputs: Sequence[Tensor]) -> dict[str, int]:
    """Count the operators from `inputs` to what `compute` returns, and back."""
    compute()  # tables that are made once for a shape
    with OperatorCounter() as forward:
        outputs = compute()
    ones = [torch.ones_like(output) for output in outputs]
    with OperatorCounter() as backward:
        torch.autograd.grad(outputs, inputs, ones, allow_unused=True)
    return {f"{prefix}forward": forward.operators.total(), f"{prefix}backward": backward.operators.total()}


def _parts(model: ICPC, batch: list[dict]) -> Iterator[tuple[str, Callable[[], Sequence[Tensor]], list[Tensor]]]:
    """Yield each part of a model in training: its name, its computation, and what that can be differentiated by."""
    images = model.preprocess_image(batch).tensor
    labels = model.preprocess_labels(batch)
    yield "backbone", lambda: list(model.backbone(images).values()), list(model.backbone.parameters())
    features = {name: _leaf(value) for name, value in model.backbone(images).items()}
    global_embed, dense_embed = features["global_embed"], features["dense_embed"]
    context = model.prompt(global_embed)
    learned = [tensor for tensor in context if tensor is not None and tensor.requires_grad]
    if learned:
        yield "text", lambda: [model.text_encoder(model.class_tokens, context)], learned
    text = _leaf(model.text_encoder(model.class_tokens, context))
    inputs = [text, global_embed, dense_embed, *model.context_decoder.parameters()]
    yield "context_decoder", lambda: [model.context_decoder(text, global_embed, dense_embed)], inputs
    refined = _leaf(model.context_decoder(text, global_embed, dense_embed))

    def joined() -> list[Tensor]:
        return list(model.neck((features, model.alignment(dense_embed, refined))).values())

    inputs = [dense_embed, refined, *model.alignment.parameters(), *model.neck.parameters()]
    yield "alignment_and_neck", joined, inputs
    maps = {name: _leaf(value) for name, value in model.neck((features, model.alignment(dense_embed, refined))).items()}
    yield "head", lambda: [model.sem_seg_head.layers(maps)], list(model.sem_seg_head.parameters())
    logits = _leaf(model.sem_seg_head.layers(maps))
    scores = model.alignment(dense_embed, refined)
    supervised = [_leaf(scores[level]) for level in model.alignment_loss.levels]
    pixel_loss, ignore = model.alignment_loss.pixel_loss, model.alignment_loss.ignore_value
    yield "losses", lambda: [pixel_loss(x, labels, ignore) for x in (logits, *supervised)], [logits, *supervised]
    contrastive_loss = model.alignment_loss.contrastive_loss
    if contrastive_loss is not None:
        yield "contrastive", lambda: [contrastive_loss(x, labels, 0.5) for x in supervised], supervised


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_()


def _count_read_backs(cfg: CfgNode, model: nn.Module, batch: list[dict]) -> int:
    """Count the waits of a whole step of the trainer."""
    optimizer = build_optimizer(cfg, model)
    step = build_step(cfg, model, itertools.repeat(batch), optimizer)
    step.register_hooks(build_step_hooks(cfg, model))
    with EventStorage() as step.storage:
        step.iter = 0
        step.run_step()
        # An optimizer counts its steps on the host.
        steps = [state["step"] for state in optimizer.state.values() if isinstance(state.get("step"), Tensor)]
        with OperatorCounter(on_host=steps) as counter:
            step.run_step()
    return counter.read_backs.total()
