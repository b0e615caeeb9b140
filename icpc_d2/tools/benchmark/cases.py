"""The cases of the benchmark: pairs of computations, mostly the paper's form and ours on the same parameters.

Shapes: B images, K classes, C joint embedding width, S side of the image in pixels.
"""

import itertools
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from icpc_d2.analysis.random_models import (
    build_both_forms,
    build_random,
    load_resolved_config,
    plain_form,
    random_batch,
    share_parameters,
)
from icpc_d2.analysis.timing import Computation, Outcome
from icpc_d2.config import get_config_file
from icpc_d2.config.load import leaves
from icpc_d2.engine.parallel import prepare
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.engine.train_step import build_step
from icpc_d2.modeling import build, clip
from icpc_d2.modeling.fast.strip_loss import strip_pixel_cross_entropy
from icpc_d2.modeling.losses import pixel_cross_entropy


class Case(NamedTuple):
    """Two computations to compare."""

    naive: Computation
    ours: Computation
    comparable: bool = True  # whether both give the same values
    titles: tuple[str, str] = ("naive", "ours")


def load_case_config(args: Namespace) -> CfgNode:
    """Read the config of a command line that `parse_args` of the command read; fills in its `classes`."""
    torch.manual_seed(0)
    cfg = load_resolved_config(args.config_file, args.options, args.classes, args.device)
    args.classes = len(build.get_class_names(cfg))
    return cfg


def build_case(args: Namespace) -> Case:
    """Build the case of a command line that `parse_args` of the command read; fills in its `classes`."""
    cfg = load_case_config(args)
    return CASES[args.case](cfg, args)


def _text_case(cfg: CfgNode, args: Namespace) -> Case:
    """Class names in the context of B images -> text embeddings (B, K, C)."""
    names = build.get_class_names(cfg)
    channels = clip.get_architecture(cfg.MODEL.CLIP.ARCH)["embed_dim"]
    forms = [nn.ModuleDict(build.build_text(form, names, channels)).to(args.device) for form in (plain_form(cfg), cfg)]
    share_parameters(forms[1], forms[0])
    embed = torch.randn(args.batch, channels, device=args.device, requires_grad=True)
    prompt = forms[1]["prompt"]
    inputs = [embed, *prompt.parameters()]
    weights = torch.randn(1, len(names), channels, device=args.device)

    def encode(form: nn.ModuleDict) -> list[Tensor]:
        return [form["text_encoder"](form["class_tokens"], prompt(embed))]

    return Case(*(_computation(partial(encode, form), inputs, [weights], args.mode) for form in forms))


def _alignment_case(cfg: CfgNode, args: Namespace) -> Case:
    """Backbone maps, dense embedding and text embeddings -> the lateral convolutions of the FPN."""
    plain, fast = build_both_forms(cfg)
    shapes = fast.backbone.output_shape()
    for model in (plain, fast):
        del model.backbone, model.text_encoder
    for parameter in fast.alignment.parameters():
        # Off the identity that it starts from, where many a mistake would not show.
        parameter.data.add_(torch.randn_like(parameter), alpha=0.5 * parameter.shape[0] ** -0.5)
    maps = {
        name: torch.randn(args.batch, s.channels, args.size // s.stride, args.size // s.stride, device=args.device)
        for name, s in shapes.items()
        if s.stride
    }
    dense = maps.pop("dense_embed").requires_grad_()
    text = torch.randn(args.batch, len(fast.class_tokens), dense.shape[1], device=args.device, requires_grad=True)
    levels = list(reversed(fast.neck.in_features))

    def laterals(model: nn.Module) -> list[Tensor]:
        joined = model.neck.bottom_up((maps, model.alignment(dense, text)))
        return [lateral(joined[level]) for level, lateral in zip(levels, model.neck.lateral_convs, strict=True)]

    width = fast.neck.lateral_convs[0].conv.out_channels
    weights = [torch.randn(args.batch, width, *maps[level].shape[-2:], device=args.device) for level in levels]
    inputs = [dense, text, *fast.alignment.parameters(), *nn.ModuleList(fast.neck.lateral_convs).parameters()]
    return Case(*(_computation(partial(laterals, model), inputs, weights, args.mode) for model in (plain, fast)))


def _loss_case(cfg: CfgNode, args: Namespace) -> Case:
    """Logits of the decoder at stride 4 and score map at stride 32 -> L_seg and L_align."""
    num_classes, ignore = len(build.get_class_names(cfg)), cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
    labels = torch.randint(num_classes, (args.batch, args.size, args.size), device=args.device)
    labels[:, : args.size // 16] = ignore
    sizes = (args.size // 4, args.size // 32)
    logits = [torch.randn(args.batch, num_classes, s, s, device=args.device, requires_grad=True) for s in sizes]

    def compute(loss: Callable[[Tensor, Tensor, int], Tensor]) -> list[Tensor]:
        return [loss(scores, labels, ignore) for scores in logits]

    losses = (pixel_cross_entropy, strip_pixel_cross_entropy)
    weights = [torch.ones((), device=args.device)] * 2
    return Case(*(_computation(partial(compute, loss), logits, weights, args.mode) for loss in losses))


def _inference_case(cfg: CfgNode, args: Namespace) -> Case:
    """Images of S x 2S (with `--against`: S x S) -> label maps of twice that size."""
    if args.against:
        inputs = [{"image": torch.randint(256, (3, args.size, args.size), dtype=torch.uint8)}] * args.batch
        runs = (lambda model=model: Outcome(_predict(model, "sem_seg", inputs)) for model in _against(cfg, args))
        return Case(*runs, comparable=False, titles=(args.against, "ours"))
    model = build_random(cfg)
    model.window = None
    image = torch.randint(256, (3, args.size, 2 * args.size), dtype=torch.uint8)
    inputs = [{"image": image, "height": 2 * args.size, "width": 4 * args.size}] * args.batch
    return Case(
        lambda: Outcome([logits.argmax(dim=0) for logits in _predict(model, "sem_seg", inputs)]),
        lambda: Outcome(_predict(model.label_maps, "labels", inputs)),
    )


@torch.no_grad()
def _predict(model: Callable[..., Any], key: str, inputs: list[dict[str, Any]]) -> list[Tensor]:
    return [prediction[key] for prediction in model(inputs)]


def _train_case(cfg: CfgNode, args: Namespace) -> Case:
    """Images and labels of S x S -> the losses, which are ours in both, and their gradients."""
    pair = _against(cfg, args) if args.against else build_both_forms(cfg)
    batch = random_batch(len(pair[1].class_tokens), args.batch, args.size)

    def compute(model: nn.Module) -> Outcome:
        torch.manual_seed(0)
        model.train()
        losses = list(model(batch).values())
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return Outcome([loss.detach() for loss in losses], torch.autograd.grad(sum(losses), parameters))

    titles = (args.against or "naive", "ours")
    return Case(*(partial(compute, model) for model in pair), comparable=not args.against, titles=titles)


def _step_case(cfg: CfgNode, args: Namespace) -> Case:
    """Images and labels of S x S -> a step of the training, without the options and with them."""

    def make(cfg: CfgNode) -> Computation:
        model = prepare(cfg, build_random(cfg))
        batches = itertools.repeat(random_batch(len(build.get_class_names(cfg)), args.batch, args.size))
        step = build_step(cfg, model, batches, build_optimizer(cfg, model))

        def run() -> Outcome:
            with EventStorage() as step.storage:
                step.iter = 0
                step.run_step()
            return Outcome([])

        return run

    return Case(make(_other_config(cfg, args, [])), make(cfg), comparable=False, titles=("without", "with"))


def _against(cfg: CfgNode, args: Namespace) -> list[nn.Module]:
    """Build the config with another method's fragment on top, and the config itself."""
    method = leaves(CfgNode.load_yaml_with_base(get_config_file(f"common/methods/{args.against}.yaml")))
    options = [*itertools.chain.from_iterable(method), *args.options]
    models = [build_random(_other_config(cfg, args, options)), build_random(cfg)]
    for model in models:
        model.window = None
    return models


def _other_config(cfg: CfgNode, args: Namespace, options: Sequence[Any]) -> CfgNode:
    """Read the config with other options, for the same classes."""
    names = ["MODEL.CLASS_NAMES", build.get_class_names(cfg)]
    return load_resolved_config(args.config_file, [*options, *names], device=args.device)


def _computation(
    compute: Callable[[], list[Tensor]], inputs: Sequence[Tensor], weights: Sequence[Tensor], mode: str
) -> Computation:
    """Return outputs alone ("inference"), or with the gradients of their weighted sum by `inputs` ("training")."""

    def run() -> Outcome:
        if mode == "inference":
            with torch.no_grad():
                return Outcome(compute())
        outputs = compute()
        total = sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
        return Outcome([output.detach() for output in outputs], torch.autograd.grad(total, inputs))

    return run


CASES: dict[str, Callable[[CfgNode, Namespace], Case]] = {
    "text": _text_case,
    "alignment": _alignment_case,
    "loss": _loss_case,
    "inference": _inference_case,
    "train": _train_case,
    "step": _step_case,
}
