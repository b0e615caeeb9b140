"""Memory layout and compilation change how fast a model runs, and nothing else."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

from icpc_d2.engine.parallel import distribute, prepare, share_buffers
from icpc_d2.modeling.segmentor import Segmentor
from tests.support.models import TINY_VIT, make_batch, make_cfg


def outputs(*options: Any, backbone: tuple = ()) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    """A tiny model, its losses and its logits."""
    cfg = make_cfg("quickstart/icpc_tiny.yaml", *backbone, *options)
    torch.manual_seed(0)
    model = prepare(cfg, build_model(cfg))
    torch.manual_seed(1)
    batch = make_batch((64, 96), (64, 96))
    losses = model(batch)
    sum(losses.values()).backward()
    with torch.no_grad():
        logits = model.eval()(batch[:1])[0]["sem_seg"]
    return model, losses, logits


@pytest.mark.parametrize("backbone", [(), TINY_VIT], ids=["resnet", "vit"])
def test_channels_last_changes_the_layout_alone(backbone: tuple) -> None:
    _, losses, logits = outputs(backbone=backbone)
    model, found, found_logits = outputs("MODEL.CHANNELS_LAST", True, backbone=backbone)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convolutions)
    torch.testing.assert_close(found, losses, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_logits, logits, atol=1e-4, rtol=1e-3)


PARTS = ["prompt", "text_encoder", "context_decoder", "alignment", "neck", "sem_seg_head"]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """The graphs that are traced from here on. They are run as they are: turning them into C++ takes minutes."""
    traced = []

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable:
        traced.append(graph)
        return graph.forward

    compile_ = torch.compile

    def compile_to_keep(function: Callable, *, fullgraph: bool, mode: str | None = None) -> Callable:
        assert fullgraph and mode in (None, "reduce-overhead")
        return compile_(function, fullgraph=True, backend=keep)

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", compile_to_keep)
    return traced


def test_compiled_parts_compute_the_same(graphs: list) -> None:
    """Each as one graph, in training and in evaluation: torch refuses a second one. tests/gpu/ has more of them."""
    fixed = ("TEST.SLIDING_WINDOW.ENABLED", True, "MODEL.CONTEXT_DECODER.NUM_LAYERS", 1, "MODEL.SEM_SEG_HEAD.NORM", "")
    plain, losses, logits = outputs(*fixed)
    model, found, found_logits = outputs("MODEL.COMPILE", PARTS, *fixed)
    assert len(graphs) == 2 * len(PARTS)
    torch.testing.assert_close(found, losses, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found_logits, logits, atol=1e-4, rtol=1e-3)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_text_that_no_image_changes_is_kept_by_a_compiled_encoder(graphs: list) -> None:
    """And a copy of the encoder computes with weights of its own."""
    model = prepare(cfg := make_cfg("quickstart/icpc_tiny.yaml", "MODEL.PROMPT.NAME", "coop"), build_model(cfg)).eval()
    model.text_encoder.compile(fullgraph=True)
    with torch.no_grad():
        first, second = (model.text_encoder(model.class_tokens, model.prompt(torch.randn(1, 128))) for _ in range(2))
        assert first is second and len(graphs) == 1
        other = copy.deepcopy(model)
        nn.init.zeros_(model.text_encoder.text_projection)
        assert model.text_encoder(model.class_tokens, model.prompt(torch.randn(1, 128))).abs().max() == 0
        assert torch.equal(other.text_encoder(other.class_tokens, other.prompt(torch.randn(1, 128))), first)


class Doubling(Segmentor, nn.Module):
    """A segmentor whose logits are the image and a part of its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def predict(self, images: Tensor) -> Tensor:
        return 2 * images + self.weight


def test_predictions_of_one_size_are_compiled(graphs: list) -> None:
    """Of any number of images; other sizes are predicted as ever, and copies have weights of their own."""
    model = Doubling()
    model.compile_prediction(8, fullgraph=True, mode="reduce-overhead")
    with torch.no_grad():
        for shape, known in (
            ((4, 3, 8, 8), 1),
            ((4, 3, 8, 8), 1),
            ((4, 3, 8, 9), 1),
            ((2, 3, 8, 8), 2),
            ((3, 3, 8, 8), 2),
        ):
            images = torch.randn(shape)
            torch.testing.assert_close(model.predict(images), 2 * images + 1)
            assert len(graphs) == known
        other = copy.deepcopy(model)
        model.weight.zero_()
        torch.testing.assert_close(other.predict(images), 2 * images + 1)
        torch.testing.assert_close(model.predict(images), 2 * images)


@pytest.mark.parametrize(
    ("options", "is_one_graph"),
    [
        (("TEST.SLIDING_WINDOW.ENABLED", True), True),
        (("TEST.SLIDING_WINDOW.ENABLED", False), False),
        (("TEST.SLIDING_WINDOW.ENABLED", True, "INPUT.CROP.ENABLED", False), False),
        (("TEST.SLIDING_WINDOW.ENABLED", True, "TEST.AUG.ENABLED", True), False),
    ],
)
def test_where_sizes_vary_a_part_too_many_is_no_error(
    options: tuple, is_one_graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch compiles a part for eight sizes at most: one graph or an error is for trainings and windows of one size."""
    asked = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **arguments: asked.append(arguments))
    prepare(
        make_cfg("quickstart/icpc_tiny.yaml", "MODEL.COMPILE", ["neck"], *options),
        nn.ModuleDict({"neck": nn.Identity()}),
    )
    assert asked == [{"fullgraph": is_one_graph}]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("head", r"MODEL\.COMPILE has 'head', .*there are .*'sem_seg_head', .*'predict'"),
        ("alignment_loss", "'alignment_loss', which is not compiled: how many points it draws"),
        ("class_tokens", "'class_tokens', which is not compiled"),
        ("predict", r"TEST\.SLIDING_WINDOW\.ENABLED is False"),
    ],
)
def test_what_cannot_be_compiled_is_named(name: str, message: str) -> None:
    cfg = make_cfg("quickstart/icpc_tiny.yaml", "MODEL.COMPILE", [name])
    with pytest.raises(ValueError, match=message):
        prepare(cfg, build_model(cfg))


def test_another_projects_model_has_no_prediction_to_compile() -> None:
    cfg = make_cfg("quickstart/icpc_tiny.yaml", "MODEL.COMPILE", ["predict"], "TEST.SLIDING_WINDOW.ENABLED", True)
    with pytest.raises(ValueError, match="which ModuleDict cannot"):
        prepare(cfg, nn.ModuleDict({"sem_seg_head": nn.Identity()}))


def test_a_single_process_keeps_its_model() -> None:
    model = nn.BatchNorm2d(2)
    assert distribute(model) is model
    share_buffers(model)
    torch.testing.assert_close(model.running_mean, torch.zeros(2))
