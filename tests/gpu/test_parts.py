"""Every part, and the whole model, against the same on the CPU: float32, to 1e-3 of the largest number."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

from icpc_d2.analysis.random_models import class_names, load_resolved_config
from icpc_d2.config import get_config_file
from icpc_d2.modeling.fast.strip_loss import strip_pixel_cross_entropy
from icpc_d2.modeling.losses import pixel_cross_entropy
from tests.support.models import TINY_VIT, make_batch, make_cfg

# Nothing random inside, losses that look at all points, and the same on every device.
EXACT = [
    *("MODEL.SEM_SEG_HEAD.DROPOUT", 0.0, "MODEL.CONTEXT_DECODER.DROPOUT", 0.0, "MODEL.CLIP.VIT_DROP_PATH", 0.0),
    *("MODEL.CONTRASTIVE.GATHER", True, "MODEL.CONTRASTIVE.NUM_POINTS", 10_000),
]
# Full-size on a GPU: 150 classes at 128 pixels.
MODELS = {"RN": ("ade20k/icpc_R50.yaml", ()), "ViT": ("ade20k/icpc_ViTB.yaml", TINY_VIT)}
SIZE = 128


def build(name: str, device: str, *options: Any) -> nn.Module:
    """The model on the CPU: full-size for a GPU, tiny for the CPU."""
    torch.manual_seed(0)
    file, tiny = MODELS[name]
    if device == "cpu":
        return build_model(make_cfg("quickstart/icpc_tiny.yaml", *tiny, *EXACT, *options))
    return build_model(load_resolved_config(get_config_file(file), [*EXACT, *options]))


def assert_near(found: Any, wanted: Any, name: str = "") -> None:
    """Compare nested tensors, each to 1e-3 of its largest number."""
    if isinstance(wanted, Tensor):
        scale = max(wanted.float().abs().max().item(), 1e-12)
        error = (found.detach().float().cpu() - wanted.detach().float().cpu()).abs().max().item()
        assert error <= 1e-3 * scale, f"{name}: {error:.3g} apart, the largest number is {scale:.3g}"
        return
    items = wanted.items() if isinstance(wanted, Mapping) else enumerate(wanted)
    for key, value in items:
        assert_near(found[key], value, f"{name}.{key}")


@pytest.fixture(scope="module", params=list(MODELS))
def pair(request: pytest.FixtureRequest, device: str) -> tuple[nn.Module, nn.Module]:
    """The same model on the CPU and on the device."""
    model = build(request.param, device)
    for parameter in model.alignment.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.3 * parameter.shape[0] ** -0.5)
    # 1e-4 at first, which would hide what is wrong.
    nn.init.ones_(model.context_decoder.scale)
    return model, copy.deepcopy(model).to(device)


def compare(pair: tuple[nn.Module, nn.Module], run: Callable[[nn.Module, list[Tensor]], Any], *shapes: tuple) -> None:
    """Compare outputs and gradients by the inputs of these shapes."""
    inputs = [torch.randn(shape) for shape in shapes]
    results = []
    for model in pair:
        own = [value.to(next(model.parameters()).device).requires_grad_() for value in map(torch.clone, inputs)]
        outputs = run(model.eval(), own)
        total = sum((output * torch.linspace(-1, 1, output[0].numel()).view_as(output[0]).to(output)).sum()
                    for output in outputs)  # fmt: skip
        results.append((outputs, torch.autograd.grad(total, own)))
    assert_near(results[1], results[0])


def test_backbone(pair: tuple) -> None:
    names = ("res2", "res3", "res4", "res5", "global_embed", "dense_embed")
    compare(pair, lambda model, x: [model.backbone(x[0])[name] for name in names], (2, 3, SIZE, SIZE))


def sizes_of(model: nn.Module) -> tuple[int, int, dict[str, tuple[int, ...]]]:
    """K, C, and the shapes of the backbone's maps for two images."""
    shapes = model.backbone.output_shape()
    maps = {n: (2, s.channels, SIZE // s.stride, SIZE // s.stride) for n, s in shapes.items() if s.stride}
    return len(model.class_tokens), shapes["global_embed"].channels, maps


def test_prompt_and_text_encoder(pair: tuple) -> None:
    _, channels, _ = sizes_of(pair[0])
    compare(pair, lambda model, x: [model.text_encoder(model.class_tokens, model.prompt(x[0]))], (2, channels))


def test_context_decoder(pair: tuple) -> None:
    classes, channels, maps = sizes_of(pair[0])
    shapes = (2, classes, channels), (2, channels), maps["dense_embed"]
    compare(pair, lambda model, x: [model.context_decoder(*x)], *shapes)


def test_alignment_neck_and_head(pair: tuple) -> None:
    classes, channels, maps = sizes_of(pair[0])
    levels = ("res2", "res3", "res4", "res5")

    def decode(model: nn.Module, x: list[Tensor]) -> list[Tensor]:
        dense, text, *features = x
        scores = model.alignment(dense, text)
        logits = model.decode((dict(zip(levels, features, strict=True)), scores))
        return [logits, *(scores[level] for level in levels)]

    compare(pair, decode, maps["dense_embed"], (2, classes, channels), *(maps[level] for level in levels))


@pytest.mark.parametrize("loss", [pixel_cross_entropy, strip_pixel_cross_entropy])
@pytest.mark.parametrize("ignored", [0.1, 1.0])
def test_pixel_losses(device: str, loss: Callable, ignored: float) -> None:
    logits, labels = 5 * torch.randn(2, 150, 32, 48), torch.randint(150, (2, 128, 192))
    labels[torch.rand(labels.shape) < ignored] = 255
    results = []
    for place in ("cpu", device):
        own = logits.to(place).requires_grad_()
        value = loss(own, labels.to(place), 255)
        results.append((value, torch.autograd.grad(value, own)))
    assert_near(results[1], results[0])


@pytest.mark.parametrize("name", MODELS)
def test_whole_model(name: str, device: str) -> None:
    """Losses, gradients of all that trains, logits and label maps."""
    model = build(name, device)
    other = copy.deepcopy(model).to(device)
    batch = make_batch((SIZE, SIZE), (SIZE, 96), num_classes=len(model.class_tokens))
    results = []
    for each in (model, other):
        losses = each.train()(batch)
        parameters = {n: p for n, p in each.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(sum(losses.values()), list(parameters.values()))
        each.eval()
        with torch.no_grad():
            logits = [result["sem_seg"] for result in each(batch)]
            labels = [result["labels"] for result in each.label_maps(batch)]
        for full, found in zip(logits, labels, strict=True):
            assert torch.equal(full.argmax(dim=0), found)
        results.append((losses, dict(zip(parameters, gradients, strict=True)), logits))
    (losses, gradients, logits), (found_losses, found_gradients, found_logits) = results
    assert_near(found_losses, losses)
    assert_near(found_logits, logits)
    # As one vector: many a gradient is zero but for rounding, such as that of a bias before BatchNorm.
    wanted, found = (torch.cat([g.flatten().cpu() for g in r.values()]) for r in (gradients, found_gradients))
    assert nn.functional.cosine_similarity(wanted, found, dim=0) > 1 - 1e-4
    assert abs(found.norm() / wanted.norm() - 1) < 1e-3


@pytest.mark.parametrize("num_classes", [150, 847])
@pytest.mark.parametrize("prompt", ["template", "coop", "instance", "cocoop", "icpc"])
def test_label_maps_are_the_argmax_of_the_logits(device: str, num_classes: int, prompt: str) -> None:
    cfg = make_cfg("quickstart/icpc_tiny.yaml", "MODEL.CLASS_NAMES", class_names(num_classes))
    cfg.MODEL.PROMPT.NAME, cfg.MODEL.DEVICE = prompt, device
    model = build_model(cfg).eval()
    nn.init.normal_(model.sem_seg_head.predictor[1].weight)
    batch = [{**make_batch((97, 131))[0], "height": 200, "width": 300}]
    with torch.no_grad():
        logits, labels = model(batch)[0]["sem_seg"], model.label_maps(batch)[0]["labels"]
    assert labels.device.type == device
    assert torch.equal(logits.argmax(dim=0), labels)
