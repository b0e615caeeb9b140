"""Memory layout and compilation change how fast a model runs, and nothing else."""

from functools import partial
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

from icpc_d2.engine.parallel import distribute, prepare, share_buffers
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


def test_compiled_parts_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced, but not turned into C++, which takes minutes."""
    plain, losses, logits = outputs()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model, found, found_logits = outputs("MODEL.COMPILE", ["context_decoder"])
    assert model.context_decoder._compiled_call_impl is not None
    torch.testing.assert_close(found, losses, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found_logits, logits, atol=1e-4, rtol=1e-3)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_parts_that_are_not_there_are_named() -> None:
    cfg = make_cfg("quickstart/icpc_tiny.yaml", "MODEL.COMPILE", ["head"])
    with pytest.raises(ValueError, match=r"MODEL\.COMPILE has 'head', .*there are .*'sem_seg_head'"):
        prepare(cfg, nn.ModuleDict({"sem_seg_head": nn.Identity()}))


def test_a_single_process_keeps_its_model() -> None:
    model = nn.BatchNorm2d(2)
    assert distribute(model) is model
    share_buffers(model)
    torch.testing.assert_close(model.running_mean, torch.zeros(2))
