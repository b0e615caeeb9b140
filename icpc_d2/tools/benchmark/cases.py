"""The cases of the benchmark: pairs of computations, mostly the paper's form and ours on the same parameters.

Shapes: B images, K classes, C joint embedding width, S side of the image in pixels.
"""

import itertools
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from icpc_d2.analysis.random_models import build_random, load_resolved_config, random_batch
from icpc_d2.analysis.timing import Computation, Outcome
from icpc_d2.config import get_config_file
from icpc_d2.config.load import leaves
from icpc_d2.engine.parallel import prepare
from icpc_d2.engine.solver import build_optimizer
from icpc_d2.engine.train_step import build_step
from icpc_d2.modeling import build, clip
from icpc_d2.modeling.losses import pixel_cross_entropy
from icpc_d2.tools import reference


class Case(NamedTuple):
    """Two computations to compare."""

    naive: Computation
    ours: Computation
    comparable: bool = True  # whether both give the same values
    titles: tuple[str, str] = ("naive", "ours")


def build_case(args: Namespace) -> Case:
    """Build the case of a command line that `parse_args` of the command read; fills in its `classes`."""
    torch.manual_seed(0)
    cfg = load_resolved_config(args.config_file, args.options, args.classes, args.device)
    args.classes = len(build.get_class_names(cfg))
    return CASES[args.case](cfg, args)


def _text_case(cfg: CfgNode, args: Namespace) -> Case:
    """Class names in the context of B images -> text embeddings (B, K, C)."""
    names = build.get_class_names(cfg)
    channels = clip.get_architecture(cfg.MODEL.CLIP.ARCH)["embed_dim"]
    text = nn.ModuleDict(build.build_text(cfg, names, channels)).to(args.device)
    prompt, tokens, ours = text["prompt"], text["class_tokens"], text["text_encoder"]
    naive = reference.NaiveTextEncoder(ours)
    embed = torch.randn(args.batch, channels, device=args.device, requires_grad=True)
    inputs = [embed, *prompt.parameters()]
    weights = torch.randn(1, len(names), channels, device=args.device)
    return Case(
        *(
            _computation(lambda encoder=encoder: [encoder(tokens, prompt(embed))], inputs, [weights], args.mode)
            for encoder in (naive, ours)
        )
    )


def _alignment_case(cfg: CfgNode, args: Namespace) -> Case:
    """Backbone maps, dense embedding and text embeddings -> the lateral convolutions of the FPN."""
    model = build_random(cfg)
    shapes = model.backbone.output_shape()
    del model.backbone, model.text_encoder
    for parameter in model.alignment.parameters():
        # Off the identity that it starts from, where many a mistake would not show.
        parameter.data.add_(torch.randn_like(parameter), alpha=0.5 * parameter.shape[0] ** -0.5)
    maps = {
        name: torch.randn(args.batch, s.channels, args.size // s.stride, args.size // s.stride, device=args.device)
        for name, s in shapes.items()
        if s.stride
    }
    dense = maps.pop("dense_embed").requires_grad_()
    num_classes = len(model.class_tokens)
    text = torch.randn(args.batch, num_classes, dense.shape[1], device=args.device, requires_grad=True)
    alignment, neck = model.alignment, model.neck
    plain_alignment, plain_neck = reference.PlainAlignment(alignment), reference.PlainNeck(neck)

    def naive() -> list[Tensor]:
        return plain_neck.laterals(maps, plain_alignment(dense, text))

    def ours() -> list[Tensor]:
        joined = neck.bottom_up((maps, alignment(dense, text)))
        levels = reversed(neck.in_features)
        return [lateral(joined[level]) for level, lateral in zip(levels, neck.lateral_convs, strict=True)]

    laterals = nn.ModuleList(neck.lateral_convs)
    inputs = [dense, text, *alignment.parameters(), *laterals.parameters()]
    width = laterals[0].conv.out_channels
    sizes = [maps[level].shape[-2:] for level in reversed(neck.in_features)]
    weights = [torch.randn(args.batch, width, *size, device=args.device) for size in sizes]
    return Case(*(_computation(compute, inputs, weights, args.mode) for compute in (naive, ours)))


def _loss_case(cfg: CfgNode, args: Namespace) -> Case:
    """Logits of the decoder at stride 4 and score map at stride 32 -> L_seg and L_align."""
    num_classes, ignore = len(build.get_class_names(cfg)), cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
    labels = torch.randint(num_classes, (args.batch, args.size, args.size), device=args.device)
    labels[:, : args.size // 16] = ignore
    sizes = (args.size // 4, args.size // 32)
    logits = [torch.randn(args.batch, num_classes, s, s, device=args.device, requires_grad=True) for s in sizes]

    def compute(loss: Callable[[Tensor, Tensor, int], Tensor]) -> list[Tensor]:
        return [loss(scores, labels, ignore) for scores in logits]

    losses = (reference.plain_pixel_cross_entropy, pixel_cross_entropy)
    weights = [torch.ones((), device=args.device)] * 2
    return Case(*(_computation(lambda loss=loss: compute(loss), logits, weights, args.mode) for loss in losses))


def _inference_case(cfg: CfgNode, args: Namespace) -> Case:
    """Images of S x 2S (with `--against`: S x S) -> label maps of twice that size."""
    if args.against:
        pair = _against(cfg, args)
        image = torch.randint(256, (3, args.size, args.size), dtype=torch.uint8)
        inputs = [{"image": image}] * args.batch
        runs = [_inference(lambda model=model: _field("sem_seg", model(inputs))) for model in pair]
        return Case(*runs, comparable=False, titles=(args.against, "ours"))
    model = build_random(cfg)
    model.window = None
    image = torch.randint(256, (3, args.size, 2 * args.size), dtype=torch.uint8)
    inputs = [{"image": image, "height": 2 * args.size, "width": 4 * args.size}] * args.batch
    return Case(
        _inference(lambda: [logits.argmax(dim=0) for logits in _field("sem_seg", model(inputs))]),
        _inference(lambda: _field("labels", model.label_maps(inputs))),
    )


def _field(name: str, results: list[dict[str, Tensor]]) -> list[Tensor]:
    return [result[name] for result in results]


def _inference(predict: Callable[[], list[Tensor]]) -> Computation:
    return torch.no_grad()(lambda: Outcome(predict()))


def _train_case(cfg: CfgNode, args: Namespace) -> Case:
    """Images and labels of S x S -> the losses, which are ours in both, and their gradients."""
    if args.against:
        pair = _against(cfg, args)
    else:
        model = build_random(cfg)
        pair = [reference.make_reference(model), model]
    batch = random_batch(len(pair[1].class_tokens), args.batch, args.size)

    def compute(model: nn.Module) -> Outcome:
        torch.manual_seed(0)
        model.train()
        losses = list(model(batch).values())
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return Outcome([loss.detach() for loss in losses], torch.autograd.grad(sum(losses), parameters))

    titles = (args.against or "naive", "ours")
    return Case(*(lambda model=model: compute(model) for model in pair), comparable=not args.against, titles=titles)


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
    """The config with another method's fragment on top, and the config itself."""
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
    """Outputs alone ("inference"), or with the gradients of their weighted sum by `inputs` ("training")."""

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
